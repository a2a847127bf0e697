"""Names of the files that commands write."""


def distinct(stems: list[str]) -> list[str]:
    """Gives names that occur more than once a number, so that no picture replaces another."""
    taken: set[str] = set()
    names = []
    for stem in stems:
        name, number = stem, 2
        while name in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name)
        names.append(name)
    return names

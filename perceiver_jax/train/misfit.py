"""What to say when a checkpoint does not fit the model that shall start from it."""

from collections.abc import Iterable

from perceiver_jax import zoo
from perceiver_jax.zoo.families import Shapes

_MOST = 4  # More patterns than this are no mend, but another model.
_POSITIONS = "trainable_position_encoding"


def mend(needed: Shapes, given: Shapes, config: object, model: object) -> str:
    """Returns the flags with which the checkpoint would fit, as sentences; "" if none would do.

    Args:
      needed: shapes of the arrays that the model takes from the checkpoint.
      given: shapes of those that the checkpoint has for it.
      config: the config of the checkpoint's model.
      model: the config of the model.
    """
    sentences = []
    stretched = set()
    if _both_learned(config, model):
        stretched = {
            key
            for key, shape in needed.items()
            if key[0].startswith("image_preprocessor")
            and key[0].endswith(_POSITIONS)
            and given.get(key, shape)[1:] == shape[1:]
            and given.get(key, shape) != shape
        }
    if stretched:
        sentences.append(
            "Its learned positions are those of another image size: "
            "--config.interpolate_positions=true stretches them."
        )
    other = {key for key, shape in needed.items() if given.get(key) != shape} - stretched
    surplus = {module for module, _ in given} - {module for module, _ in needed}
    fresh = _covering({module for module, _ in other}, {module for module, _ in needed})
    skip = _covering(surplus, {module for module, _ in given})
    if len(fresh) > _MOST or len(skip) > _MOST or 2 * len(other) > len(needed):
        return ""
    if fresh:
        why = "" if surplus else "As with other classes, only the outputs may be others: "
        whom = "it start" if len(fresh) == 1 else "these start"
        sentences.append(f"{why}--config.fresh={','.join(fresh)} lets {whom} at random.")
    if skip:
        sentences.append(f"--config.skip={','.join(skip)} leaves out what only the checkpoint has.")
    return "\n".join(sentences)


def _both_learned(*configs: object) -> bool:
    images = [getattr(config, "preprocessor", None) for config in configs]
    return all(
        isinstance(image, zoo.ImageConfig) and isinstance(image.position, zoo.LearnedConfig)
        for image in images
    )


def _covering(modules: set[str], all_modules: Iterable[str]) -> list[str]:
    """Returns patterns that name `modules` and no other; whole parts of the model by their name."""
    found: list[str] = []
    others = set(all_modules) - modules
    for module in sorted(modules):
        top = module.partition("/")[0]
        whole = not any(other.partition("/")[0] == top for other in others)
        pattern = top if whole else module
        if pattern not in found:
            found.append(pattern)
    return found

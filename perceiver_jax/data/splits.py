"""The splits that every data set has, and training examples that are held out."""

import dataclasses

from perceiver_jax.errors import ConfigError, DataError

# "valid" is a part of the training examples that is held out; there is one only if asked for.
SPLITS = ("train", "valid", "test")


def check_split(split: str, what: str) -> None:
    """Refuses what is no split.

    Raises:
      DataError: names those that there are; `what` begins the message.
    """
    if split not in SPLITS:
        raise DataError(f"{what} has no split {split!r}; it has: {', '.join(SPLITS)}.")


@dataclasses.dataclass(frozen=True)
class HoldOut:
    """The field of a config that says how many training examples are held out, in messages."""

    field: str  # Such as "data.images.hold_out".
    examples: str  # What they are: "images".

    def check_field(self, hold_out: int) -> None:
        """Checks the value of the field by itself.

        Raises:
          ConfigError: it is negative.
        """
        if hold_out < 0:
            raise ConfigError(
                f"{self.field}={hold_out} must be 0 or the number of training {self.examples} to "
                "keep back."
            )

    def check(self, hold_out: int, split: str, num_train: int, what: str) -> None:
        """Checks the value of the field against a set, for a split that is opened.

        Raises:
          DataError: more than there are, or `split` is "valid" and there are none.
        """
        if split == "valid" and not hold_out:
            raise DataError(
                f"{what} holds no training {self.examples} out, so there is no split 'valid'; say "
                f"how many with --config.{self.field}=N."
            )
        if hold_out >= num_train:
            raise DataError(
                f"{self.field}={hold_out} must leave some of the {num_train} training "
                f"{self.examples} of {what.replace('The ', 'the ', 1)} to train on."
            )

    def part(self, hold_out: int, split: str, count: int) -> tuple[int, int]:
        """Returns the first example of a split, and how many it has, of `count` as stored.

        The first ones to train on are held out, and nothing of "test" is; see `check`.
        """
        if split == "test":
            return 0, count
        return (0, hold_out) if split == "valid" else (hold_out, count - hold_out)

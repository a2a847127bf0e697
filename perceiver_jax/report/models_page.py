"""Writes docs/models.md: `python -m perceiver_jax.report.models_page > docs/models.md`."""

from perceiver_jax.report import overview, paper_tables
from perceiver_jax.report.flops import FLOPS_PER_SCORE


def page(anatomies: paper_tables.Anatomies | None = None) -> str:
    """The page about all models, made of what `perceiver_jax.inspect` prints.

    Args:
      anatomies: what is known already; new if None.
    """
    anatomies = anatomies or paper_tables.Anatomies()
    listed = "\n".join(overview.list_lines(overview.all_models(anatomies), markdown=True))
    compared = paper_tables.render(paper_tables.compare(anatomies=anatomies), markdown=True)
    return f"""# The models

This page is written by `python -m perceiver_jax.report.models_page > docs/models.md`; a test fails
when it is not what the code says.

## All models

    python -m perceiver_jax.inspect --list

Parameters are counted to the unit from shapes. FLOPs are those of one example in evaluation,
counted in the traced program: 2 for each multiply-add of matrix products and convolutions, and
{FLOPS_PER_SCORE} for each attention score of each head. M x C, N x D and O x E are the papers'
letters: input elements, latents and output queries, each with its channels.
`python -m perceiver_jax.inspect --model=NAME` prints the parameter table of a model, its FLOPs by
part, and its sizes.

{listed}

## The papers' figures beside ours

    python -m perceiver_jax.inspect --paper_tables

"Perceiver" is Jaegle et al., ICML 2021, and "Perceiver IO" Jaegle et al., ICLR 2022. "Equal" is to
the printed digit, "close" within 1 %. A figure that is further off is "explained" if it is a
misprint, or to the printed digit that of an alternative which the notes name; otherwise it is
"unexplained", and the notes say what was tried. Alternatives were found by looking for what fits;
no source confirms them.

The {FLOPS_PER_SCORE} operations for each attention score are inferred: no source states them, but
they are what makes all totals of Perceiver's Tables 5 and 6 come out to the printed digit, and
Perceiver IO's 987B for optical flow with them.

{compared}
"""


if __name__ == "__main__":
    print(page(), end="")

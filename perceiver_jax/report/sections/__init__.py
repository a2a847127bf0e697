"""The sections of a report, one file each.

A section of a single run is a function `render(context) -> Section`, one that can also compare
several runs looks at `context.runs`. It raises `NotShown` where there is nothing to show; the
reason then stands at the end of the page. To add one, write it and name it in `write.py`.
"""

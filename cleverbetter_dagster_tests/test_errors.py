"""The tree at the top of the errors module shows the classes."""

import inspect

from cleverbetter_dagster import errors


def subclasses(of: type, depth: int = 0) -> list[tuple[int, str]]:
    below = [one for one in of.__subclasses__() if one.__module__ == errors.__name__]
    return [(depth, of.__name__), *(line for one in below for line in subclasses(one, depth + 1))]


def test_the_tree_shows_every_error_under_its_parent() -> None:
    classes = subclasses(errors.CleverBetterError)
    drawn = [line for line in inspect.getdoc(errors).splitlines() if line.endswith(tuple(name for _, name in classes))]
    tree = [((len(line) - len(line.lstrip("├└│─ "))) // 4, line.lstrip("├└│─ ")) for line in drawn]
    assert sorted(tree) == sorted(classes)

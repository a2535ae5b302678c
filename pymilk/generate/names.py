"""Names for Python: of what the database names as it likes."""

import keyword
import re

# What a generated module says by these names; nothing in it may take one of them.
RESERVED = frozenset(
    {
        "Call",
        "DEFAULT",
        "Decimal",
        "Default",
        "Json",
        "Key",
        "Literal",
        "Mapping",
        "NotRequired",
        "REFUSALS",
        "Refusal",
        "Sequence",
        "TypeAlias",
        "TypedDict",
        "UUID",
        "approximate",
        "argument",
        "dataclass",
        "dt",
        "field",
        "given",
        "reading",
        *("bool", "bytes", "dict", "float", "int", "list", "str"),
    }
)


def identifier(name: str) -> str:
    """A name as Python can say it: `order`, `class_`, `two_words`; empty when nothing is left."""
    said = re.sub(r"\W", "_", name)
    said = re.sub(r"^_+", "", said) if said.startswith("__") else said
    if said[:1].isdigit():
        said = f"n{said}"
    return f"{said}_" if keyword.iskeyword(said) or said in RESERVED else said


def function_name(name: str) -> str:
    """A function as Python can say it, and as the module can without losing a name of its own."""
    said = identifier(name)
    return f"{said}_" if said in {"property", "type"} else said


def parameters(names: list[str]) -> list[str]:
    """Arguments as a caller names them: without `p_` where that leaves a name of its own."""
    bare = [name.removeprefix("p_") for name in names]
    clear = [
        short if short and short[0].isalpha() and bare.count(short) == 1 else name
        for name, short in zip(names, bare, strict=True)
    ]
    return [identifier(name) for name in clear]


def camel(name: str) -> str:
    """`allocate_payment` as `AllocatePayment`."""
    words = re.split(r"[\W_]+", name)
    joined = "".join(word[:1].upper() + word[1:] for word in words)
    return f"N{joined}" if joined[:1].isdigit() else joined


def singular(name: str) -> str:
    """One of them: `allocations` as `allocation`."""
    if name.endswith("ies"):
        return f"{name[:-3]}y"
    if name.endswith("s") and not name.endswith(("ss", "us", "is")):
        return name[:-1]
    return name


class Taken:
    """The names that a module has given away."""

    def __init__(self) -> None:
        self._taken = set(RESERVED)

    def take(self, *wishes: str) -> str:
        """The first of them that is free; else the last, with a number."""
        number = 1
        for wish in wishes:
            if wish not in self._taken:
                break
        else:
            while (wish := f"{wishes[-1]}{number + 1}") in self._taken:
                number += 1
        self._taken.add(wish)
        return wish

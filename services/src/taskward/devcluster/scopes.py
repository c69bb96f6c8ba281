"""What a set of scopes permits.

A scope that ends with ``*`` permits every scope that begins with what stands before the star.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class AllOf:
    """Satisfied when every part is."""

    parts: tuple["Expression", ...]


@dataclass(frozen=True)
class AnyOf:
    """Satisfied when one part is; never, when there are no parts."""

    parts: tuple["Expression", ...]


Expression = str | AllOf | AnyOf


def all_of(*parts: Expression) -> AllOf:
    """Return the expression that needs every part."""
    return AllOf(parts)


def any_of(*parts: Expression) -> AnyOf:
    """Return the expression that needs one part."""
    return AnyOf(parts)


@dataclass(frozen=True)
class ScopeSet:
    """Scopes that somebody holds."""

    held: frozenset[str]

    @staticmethod
    def of(scopes: Iterable[str]) -> "ScopeSet":
        """Return the set of these scopes, those left out that another one covers."""
        held = frozenset(scopes)
        stars = [scope for scope in held if scope.endswith("*")]
        covered = {scope for scope in held for star in stars if scope != star and scope.startswith(star[:-1])}
        return ScopeSet(held - covered)

    @cached_property
    def _prefixes(self) -> tuple[str, ...]:
        return tuple(scope[:-1] for scope in self.held if scope.endswith("*"))

    def satisfies(self, expression: Expression) -> bool:
        """Tell whether these scopes are enough."""
        return self.missing(expression) is None

    def missing(self, expression: Expression) -> Expression | None:
        """Return the part of the expression that is not satisfied, or None when nothing is missing."""
        if isinstance(expression, str):
            return None if expression in self.held or expression.startswith(self._prefixes) else expression
        lacking = [part for part in map(self.missing, expression.parts) if part is not None]
        if isinstance(expression, AllOf):
            return AllOf(tuple(lacking)) if lacking else None
        return None if len(lacking) < len(expression.parts) else expression

    def sorted(self) -> list[str]:
        """Return the scopes in order."""
        return sorted(self.held)


def describe(expression: Expression, indent: str = "") -> str:
    """Write an expression for a reader, one scope a line."""
    if isinstance(expression, str):
        return indent + expression
    name = "AllOf" if isinstance(expression, AllOf) else "AnyOf"
    return "\n".join([f"{indent}{name}:", *(describe(part, indent + "  ") for part in expression.parts)])

"""The content words of a question: all but those that only join others."""

import re

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")

# words that say nothing of what is asked; "who", "why", "when" and the like do
_JOINING = frozenset(
    """
    a an the this that these those some any all each every both either neither such own same other another
    i you he she it we they me him her us them my your his its our their one ones
    am is are was were be been being do does did doing have has had having can could will would shall should may might
    must and or but nor not no so if than then as of at by for with about to from in on into onto up out off over
    there here just only very too also please
    what which
    """.split()
)


def content_words(text: str) -> tuple[str, ...]:
    """Return the content words of a text in lower case, each once, in order; "dog's" counts as "dog"."""
    words = (re.sub(r"['\u2019]s$", "", word) for word in _WORD.findall(text.casefold()))
    return tuple(dict.fromkeys(word for word in words if word not in _JOINING))

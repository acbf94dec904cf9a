"""What spoke for an answer: attention that raised its score, followed from the picture through the question to it.

Notation: b pictures, r questions (g of each picture, side by side), n tokens of a question, t of an answer, m picture
tokens, v words of an answer, w of a question.

Of the paper's matrices, R of (q, i) says how much of each picture token there is in each token of the question, R of
(q, q) how much of the question's tokens. The encoder has finished before the question begins, so its own matrix comes
last, multiplied with the few rows that are read.
Source: Chefer et al. 2021, "Generic attention-model explainability for interpreting bi-modal and encoder-decoder
transformers", equations 5 to 11.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..attention import Tap
from ..attention.heads import Head
from ..models import VQA
from .propagation import normalized_relevance, over, raising
from .readout import EmbeddingsAsLeaves, leaf
from .replay import Replay
from .vqa_attention import of_part
from .vqa_replay import QuestionReplay


def question_relevance(
    model: VQA, images: Float[Tensor, "b c H W"], replay: QuestionReplay, heads: Sequence[Head] | None
) -> list[tuple[Float[Tensor, "w m"], Float[Tensor, "v m"]]]:
    """What spoke for the whole answer by each word of a question, and for each word of its answer.

    Each question has gradients of its own, also where it shares its picture with others: what comes out does not depend
    on them. Costs a pass back through question and answer for each word of the longest answer, and one through the
    encoder for each question of a picture.
    """
    seen = replay.tap(model, images, select=["encoder.*"], gradients=True)
    written = isinstance(replay.answers, Replay)
    read = replay.tap(model, images, select=["question.*", "decoder.*"] if written else ["question.*"], gradients=True)
    with torch.inference_mode(False), torch.enable_grad(), EmbeddingsAsLeaves():
        # weights may all be frozen; pictures and tokens then carry the graph
        scores = replay.word_scores(replay.read(model, model.encode(leaf(images), tap=seen), read))
        padded = pad_sequence(scores, batch_first=True)  # (r, v)
        by_word = [read.gradients(of_word.sum(), keep_graph=True) for of_word in padded.unbind(1)]
        whole = padded.sum(dim=1)
        # pictures do not mix, but questions of one do: each place among them takes a turn
        by_place = [
            list(seen.gradients(whole[place :: replay.each].sum(), keep_graph=place < replay.each - 1).values())
            for place in range(replay.each)
        ]
    of_answers = []
    shares = replay.answer_shares()
    for w, gradients in enumerate(by_word):
        regions = _in_questions(read, gradients, heads)
        if written:
            regions = _in_answers(read, gradients, regions)
        of_answers.append((shares[:, w : w + 1] @ regions)[:, 0])  # (r, m)
    together = {name: torch.stack([one[name] for one in by_word]).sum(dim=0) for name in by_word[0]}
    questions = pad_sequence(list(replay.questions.shares), batch_first=True)  # (r, w, n)
    of_questions = questions @ _in_questions(read, together, heads)  # (r, w, m)
    rows = torch.cat([of_questions, torch.stack(of_answers, dim=1)], dim=1)
    for place, gradients_here in enumerate(by_place):
        mine = slice(place, None, replay.each)
        rows[mine] = normalized_relevance(rows[mine], list(seen.weights.values()), gradients_here)
    longest = questions.shape[1]
    return [
        (row[: len(asked)], row[longest : longest + len(said)])
        for row, asked, said in zip(rows, replay.questions.labels, replay.answer_labels, strict=True)
    ]


def _in_questions(tap: Tap, gradients: Mapping[str, Tensor], heads: Sequence[Head] | None) -> Float[Tensor, "r n m"]:
    """How much of each token of the encoder there is in each token of the questions: R of (q, i), but for its R of i.

    Each R of (x, x) is without its identity, beside which it might be nothing.
    """
    selves, crosses = _raised(tap, gradients, "question", heads)
    own, found = torch.zeros_like(selves[0]), torch.zeros_like(crosses[0])
    for of_self, of_cross in zip(selves, crosses, strict=True):
        found = found + of_self @ found  # 7
        own = own + of_self + of_self @ own  # 6
        normal = over(own, own.sum(dim=-1, keepdim=True))  # 8 and 9
        found = found + of_cross + normal.mT @ of_cross  # 10
    return found


def _in_answers(
    tap: Tap, gradients: Mapping[str, Tensor], in_questions: Float[Tensor, "r n m"]
) -> Float[Tensor, "r t m"]:
    """The same for the tokens of answers, which find the picture in those of the questions."""
    selves, crosses = _raised(tap, gradients, "decoder", None)
    found = torch.zeros_like(crosses[0] @ in_questions)
    for of_self, of_cross in zip(selves, crosses, strict=True):
        found = found + of_self @ found  # 7
        found = found + of_cross @ in_questions  # 11: what is attended to has something of the picture in it already
    return found


def _raised(
    tap: Tap, gradients: Mapping[str, Tensor], part: str, heads: Sequence[Head] | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Equation 5 for the self- and the cross-attentions of a part, by layer; of the latter's heads these alone."""
    selves, crosses = (
        list(zip(of_part(tap.weights, part, kind), of_part(gradients, part, kind), strict=True))
        for kind in ("self", "cross")
    )
    of_cross = []
    for layer, (looked, by) in enumerate(crosses):
        chosen = [head for of_layer, head in heads or () if of_layer == layer]
        if heads is None:
            of_cross.append(raising(looked, by))
        else:  # a layer without any of them adds nothing
            of_cross.append(raising(looked[:, chosen], by[:, chosen]) if chosen else torch.zeros_like(looked[:, 0]))
    return [raising(*one) for one in selves], of_cross

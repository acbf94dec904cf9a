"""Layer-wise relevance propagation as its papers write it: messages from operations to their inputs, no autograd.

A `Node` holds an operation's result in fp64 and how its relevance is divided among its inputs. `relevance_at` passes
messages from a result to one node. What goes to biases and to the remainder of the softmax's Taylor series is counted
in `absorbed`, so that all adds up to the score: relevance is neither made nor lost.

Source: Achtibat et al. 2024, AttnLRP, section 3 and its propositions.
"""

from functools import partial

import torch

from multiattn.models import ViT

absorbed = []


class Node:
    """A result, its inputs, and the messages to them."""

    def __init__(self, value, inputs=(), messages=None):
        self.value, self.inputs, self.messages = value, inputs, messages


def _over(relevance, result):
    return torch.where(relevance == 0, 0.0, relevance / result)


def linear(x, weight, bias=None):
    """R_i = sum_j x_i w_ji R_j / z_j."""
    z = x.value @ weight.T + (0 if bias is None else bias)

    def messages(relevance):
        if bias is not None:
            absorbed.append((bias * _over(relevance, z)).sum())
        return [x.value * (_over(relevance, z) @ weight)]

    return Node(z, (x,), messages)


def layer_norm(x, module):
    """The linear layer that subtracts the mean, with the standard deviation as a part of its weights."""
    if isinstance(module, torch.nn.RMSNorm):
        return rms_norm(x, module)
    size = x.value.shape[-1]
    deviation = (x.value.var(-1, unbiased=False, keepdim=True) + module.eps).sqrt()
    centering = torch.eye(size, dtype=torch.float64) - 1 / size
    y = (x.value @ centering) / deviation * module.weight + module.bias

    def messages(relevance):
        share = _over(relevance, y)
        absorbed.append((module.bias * share).sum())
        return [x.value * ((share * module.weight / deviation) @ centering)]

    return Node(y, (x,), messages)


def elementwise(x, function):
    """All relevance of an activation goes to its input."""
    return Node(function(x.value), (x,), lambda relevance: [relevance])


def add(a, b):
    z = a.value + b.value
    return Node(z, (a, b), lambda relevance: [a.value * _over(relevance, z), b.value * _over(relevance, z)])


def matmul(a, b):
    """R of (i, j) = sum_p a_ij b_jp R_ip / (2 z_ip), and the same for b."""
    z = a.value @ b.value

    def messages(relevance):
        share = _over(relevance, z) / 2
        return [a.value * (share @ b.value.mT), b.value * (a.value.mT @ share)]

    return Node(z, (a, b), messages)


def softmax(x, allowed):
    """R_i = x_i (R_i - s_i sum_j R_j); the rest is the value of the Taylor series at the input itself."""
    s = x.value.masked_fill(~allowed, -torch.inf).softmax(-1)

    def messages(relevance):
        found = x.value * (relevance - s * relevance.sum(-1, keepdim=True))
        absorbed.append(relevance.sum() - found.sum())
        return [found]

    return Node(s, (x,), messages)


def shaped(x, forward, back):
    """An operation that only moves numbers."""
    return Node(forward(x.value), (x,), lambda relevance: [back(relevance)])


def relevance_at(result, node, start):
    """Pass the relevance `start` of a result back to a node, through all nodes in between."""
    order, seen = [], set()

    def visit(one):
        if id(one) not in seen:
            seen.add(id(one))
            for before in one.inputs:
                visit(before)
            order.append(one)

    visit(result)
    relevances = {id(result): start}
    for one in reversed(order):
        if one is node or one.messages is None or id(one) not in relevances:
            continue
        for before, message in zip(one.inputs, one.messages(relevances.pop(id(one))), strict=True):
            relevances[id(before)] = relevances.get(id(before), 0) + message
    rest = sum(relevance.sum() for key, relevance in relevances.items() if key != id(node))
    return relevances[id(node)], rest


def attention(module, x, context=None, causal=False):
    heads = module.num_heads

    def apart(tokens):
        return tokens.unflatten(-1, (heads, -1)).transpose(0, 1)  # (h, n, d)

    def together(of_heads):
        return of_heads.transpose(0, 1).flatten(1)  # (n, D)

    def split(one):
        return shaped(one, apart, together)

    def part(of, layer, index, of_parts):
        size = len(layer.weight) // of_parts
        rows = slice(index * size, (index + 1) * size)
        return split(linear(of, layer.weight[rows], layer.bias[rows]))

    if context is None:
        q, k, v = (part(x, module.qkv, i, 3) for i in range(3))
    else:
        q, k, v = split(linear(x, module.q.weight, module.q.bias)), *(part(context, module.kv, i, 2) for i in range(2))
    scale = q.value.shape[-1] ** -0.5
    products = matmul(q, shaped(k, lambda v: v.mT, lambda r: r.mT))
    scores = Node(products.value * scale, (products,), lambda relevance: [relevance])
    allowed = torch.ones(scores.value.shape[-2:], dtype=torch.bool)
    mixed = matmul(softmax(scores, allowed.tril() if causal else allowed), v)
    joined = shaped(mixed, together, apart)
    if module.norm is not None:
        joined = layer_norm(joined, module.norm)
    return linear(joined, module.out.weight, module.out.bias)


def block(module, x, context=None, causal=False):
    """One block for one item: tokens (n, D), without its batch."""

    def branch(x, norm, run):
        if module.pre_norm:
            return add(x, run(layer_norm(x, norm)))
        return layer_norm(add(x, run(x)), norm)

    x = branch(x, module.norm1, lambda y: attention(module.attention, y, causal=causal))
    if context is not None:
        x = branch(x, module.cross_norm, lambda y: attention(module.cross_attention, y, context))
    return branch(x, module.norm2, lambda y: feedforward(module.feedforward, y))


def feedforward(module, x):
    inner = linear(x, module.fc1.weight, module.fc1.bias)
    if module.gated:
        size = module.fc2.in_features
        halves = []
        for start in (0, size):
            back = partial(torch.nn.functional.pad, pad=(start, size - start))
            halves.append(shaped(inner, lambda v, start=start: v[..., start : start + size], back))
        inner = product(elementwise(halves[0], module.activation), halves[1])
    else:
        inner = elementwise(inner, module.activation)
    if module.norm is not None:
        inner = layer_norm(inner, module.norm)
    return linear(inner, module.fc2.weight, module.fc2.bias)


def product(a, b):
    """Half of the relevance goes to each factor."""
    return Node(a.value * b.value, (a, b), lambda relevance: [relevance / 2, relevance / 2])


def rms_norm(x, module):
    """A factor for each channel, with the mean square as a part of it: all relevance goes to the input."""
    deviation = (x.value.square().mean(-1, keepdim=True) + module.eps).sqrt()
    return Node(x.value / deviation * module.weight, (x,), lambda relevance: [relevance])


def vit_tokens(model: ViT, image):
    """The tokens (n, D) that enter the first block, as numbers."""
    return model._embed(model.stem(image[None]), model.grid(image.shape[-2:]))[0]


def stack(blocks, x, context=None, causal=False):
    """The nodes that enter each block, and last the result."""
    nodes = [x]
    for one in blocks:
        nodes.append(block(one, nodes[-1], context, causal))
    return nodes


def gathered(x, rows):
    """Some rows of tokens."""

    def back(relevance):
        return torch.zeros_like(x.value).index_add(0, torch.tensor(rows), relevance)

    return shaped(x, lambda v: v[rows], back)

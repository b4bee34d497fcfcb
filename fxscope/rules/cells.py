"""Recurrent cells, written out: their sigmoid gates are frozen, the candidates and the states stay linear."""

import torch
import torch.nn.functional as F
from torch import nn

from .declare import Sample, composite


def _pair(input, hx, w_ih, w_hh, b_ih, b_hh):
    """What the input gives and what the state gives; without a state, that of zeros."""
    given = F.linear(input, w_ih, b_ih)
    if hx is None:
        return given, (torch.zeros_like(given) if b_hh is None else torch.zeros_like(given) + b_hh)
    return given, F.linear(hx, w_hh, b_hh)


def lstm(input, hx=None, w_ih=None, w_hh=None, b_ih=None, b_hh=None):
    """(h, c): c = f c + i g, h = o tanh c."""
    state = None if hx is None else hx[0]
    given, kept = _pair(input, state, w_ih, w_hh, b_ih, b_hh)
    parts = torch.chunk(given + kept, 4, -1)
    i, f, o = (torch.sigmoid(parts[n]) for n in (0, 1, 3))
    c = i * torch.tanh(parts[2])
    c = c if hx is None else f * hx[1] + c
    return o * torch.tanh(c), c


def gru(input, hx=None, w_ih=None, w_hh=None, b_ih=None, b_hh=None):
    """N = tanh(W x + r U h), h = n + z (h - n)."""
    given, kept = _pair(input, hx, w_ih, w_hh, b_ih, b_hh)
    a, b = torch.chunk(given, 3, -1), torch.chunk(kept, 3, -1)
    r, z = torch.sigmoid(a[0] + b[0]), torch.sigmoid(a[1] + b[1])
    n = torch.tanh(a[2] + r * b[2])
    return n - z * n if hx is None else n + z * (hx - n)


def plain(input, hx=None, w_ih=None, w_hh=None, b_ih=None, b_hh=None, nonlinearity="tanh"):
    """H = tanh(W x + U h)."""
    given, kept = _pair(input, hx, w_ih, w_hh, b_ih, b_hh)
    return (torch.tanh if nonlinearity == "tanh" else torch.relu)(given + kept)


def rectified(input, hx=None, w_ih=None, w_hh=None, b_ih=None, b_hh=None):
    return plain(input, hx, w_ih, w_hh, b_ih, b_hh, "relu")


_IN, _OUT = 5, 3


_WEIGHTS = {"w_ih": "weight_ih", "w_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh"}


def _own(module):
    """The arguments of a module: its tensors, and which of two units it has."""
    found = {name: getattr(module, own) for name, own in _WEIGHTS.items()}
    return found | ({"nonlinearity": module.nonlinearity} if isinstance(module, nn.RNNCell) else {})


def _tensors(gates, names):
    rows = gates * _OUT
    return dict(zip(names, ((rows, _IN), (rows, _OUT), (rows,), (rows,))))


def _state(x):
    return x[..., :_OUT] * 0.5


def _twice(f, x, **weights):
    """Two steps of a cell."""
    return f(x, f(x, _state(x), **weights), **weights)


def _both(f, x, **weights):
    """Two steps of a cell with two states; both of them are given."""
    h, c = f(x, (_state(x), _state(x) + 0.1), **weights)
    h, c = f(x, (h, c), **weights)
    return h, c


_SIZES = {"input_size": _IN, "hidden_size": _OUT}


def _rule(name, target, expand, gates, call, modules, formula, **module):
    fitting = {"module": {**_SIZES, **module}, "modules": tuple(modules)}
    return composite(
        name,
        target,
        expand,
        "sums in another order",
        carries=("input", "hx"),
        modules=dict.fromkeys(modules, _own),
        samples=(
            Sample((2, _IN), {}, tensors=_tensors(gates, _WEIGHTS), call=call, modules=()),
            *(
                [Sample((2, _IN), {}, tensors=_tensors(gates, _WEIGHTS.values()), spellings=(), **fitting)]
                if modules
                else ()
            ),
        ),
        formula=formula,
        source="the paper, eq. 2; Fig. 2 for sigmoid gates",
    )


LSTM = _rule(
    "lstm_cell",
    torch.lstm_cell,
    lstm,
    4,
    _both,
    (nn.LSTMCell,),
    "c1 = f0 c1 + i0 (tanh g0/g0) g1;  h1 = o0 (tanh c0/c0) c1",
)
GRU = _rule(
    "gru_cell",
    torch.gru_cell,
    gru,
    3,
    _twice,
    (nn.GRUCell,),
    "h1 = n1 + z0 (h1 - n1), n1 a tanh with a frozen ratio, r0 frozen",
)
RNN_TANH = _rule(
    "rnn_tanh_cell", torch.rnn_tanh_cell, plain, 1, _twice, (nn.RNNCell,), "h1 = (tanh a0/a0) a1"
)
RNN_RELU = _rule("rnn_relu_cell", torch.rnn_relu_cell, rectified, 1, _twice, (), "h1 = a1 where a0 > 0")

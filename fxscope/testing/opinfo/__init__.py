"""PyTorch's own database of operators as a judge: ``python -m fxscope.testing.opinfo``.

Every differentiable operator of the database, on PyTorch's own sample inputs, is right, refused with a
reason, wrong, or a crash.
"""

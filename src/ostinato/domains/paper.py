"""The paper whose tables runs compare with.

Bengio, Boulanger-Lewandowski & Pascanu, "Advances in Optimizing Recurrent Networks", 2012 (arXiv 1212.0901).
"""

PAPER = "Bengio, Boulanger-Lewandowski & Pascanu 2012"

"""Tables 1 and 2 of Bengio, Boulanger-Lewandowski & Pascanu 2012: every cell trained, scored, and set beside
the paper's figures.
"""

import hypothesis

# No deadline: the machines that run this are shared, and a slow moment is no defect.
# Derandomized: a failure seen once is seen by everybody.
hypothesis.settings.register_profile("ostinato", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ostinato")

from hypothesis import settings

# No deadlines: how long an example takes says more about the machine than about the code.
settings.register_profile("oobcodec", deadline=None)
settings.load_profile("oobcodec")

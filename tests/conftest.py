import signal

from hypothesis import settings

# No deadlines: how long an example takes says more about the machine than about the code.
settings.register_profile("oobcodec", deadline=None)
settings.load_profile("oobcodec")

# A shell has what it starts in the background ignore interrupts, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

"""What every test starts from."""

import signal

# A shell starts its background jobs with Ctrl-C ignored, and so would be the tests' own.
signal.signal(signal.SIGINT, signal.default_int_handler)

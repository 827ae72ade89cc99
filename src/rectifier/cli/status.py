"""Exit statuses, the same for every verb."""

from __future__ import annotations

__all__ = [
    "ACT_HELP",
    "BROKEN_PIPE",
    "CERTIFICATE_HELP",
    "CLAIMS_HELP",
    "FAULT",
    "FINDINGS",
    "HELP",
    "INTERRUPTED",
    "NOTHING",
    "PLAIN_HELP",
    "USAGE",
    "VERIFY_HELP",
]

NOTHING = 0
FINDINGS = 1
USAGE = 2
FAULT = 3
#: As a shell reports a process ended by SIGINT and by SIGPIPE; neither is a verdict.
INTERRUPTED = 130
BROKEN_PIPE = 141

#: The paragraph at the end of a verb's help (the backspace keeps its lines apart).
HELP = """\b
Exit status:
  0  nothing found, or nothing beyond the limits given
  1  findings beyond the limits given
  2  usage, your own code failed, or the output could not be written
  3  a fault of rectifier's
"""

PLAIN_HELP = """\b
Exit status:
  0  done
  2  usage, or the output could not be written
  3  a fault of rectifier's
"""

ACT_HELP = """\b
Exit status:
  0  done, or nothing to do
  2  usage, your own code failed, or what was asked for is refused
  3  a fault of rectifier's
"""

CLAIMS_HELP = """\b
Exit status:
  0  done; a claim that does not hold is no error
  2  usage, an engine that does not answer, or what was measured could not be written
  3  a fault of rectifier's, such as a run that failed
"""

CERTIFICATE_HELP = """\b
Exit status:
  0  accepted
  1  refused
  2  usage
  3  a fault of rectifier's
"""

VERIFY_HELP = """\b
Exit status:
  0  every promise kept
  1  a promise broken
  2  usage
  3  a fault of rectifier's
"""

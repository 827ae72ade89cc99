import sys

from benchmarks.patients.run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

import numpy as np
import numpy.typing as npt

long_double_digits: int

Bits = npt.NDArray[np.uint16] | npt.NDArray[np.uint32] | npt.NDArray[np.uint64]

def compare(
    name: str, kind: str, format: str, x: Bits, got: Bits, parameter: float
) -> tuple[int, float, int, list[int]]: ...
def flush_to_zero(on: bool) -> bool: ...

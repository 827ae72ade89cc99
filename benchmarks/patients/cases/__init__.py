"""The patients, by name."""

from __future__ import annotations

from benchmarks.patients.case import Patient
from benchmarks.patients.cases import convolution, dense, depth, sequence, trained, wrapped

__all__ = ["PATIENTS"]

PATIENTS: dict[str, Patient] = {
    patient.name: patient
    for module in (dense, convolution, sequence, wrapped, depth, trained)
    for patient in module.PATIENTS
}

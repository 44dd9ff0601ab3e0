"""Checks that checkov lacks: Cloud Run, secrets, keys of service accounts, Managed Airflow.

Loaded by `checkov --external-checks-dir terraform/checks`.
"""

from pathlib import Path

__all__ = sorted(
    file.stem for file in Path(__file__).parent.glob("*.py") if file.stem != "__init__"
)

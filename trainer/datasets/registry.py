"""Every data set that ``trainer prepare`` knows, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from trainer.datasets.case import Dataset
from trainer.datasets.phantom import PHANTOM
from trainer.datasets.physionet import PHYSIONET_CT_ICH
from trainer.datasets.physionet_jpeg import PHYSIONET_CT_ICH_JPEG
from trainer.datasets.rsna import RSNA_2019

_ALL = (PHYSIONET_CT_ICH, PHYSIONET_CT_ICH_JPEG, RSNA_2019, PHANTOM)

DATASETS: Mapping[str, Dataset] = MappingProxyType({dataset.name: dataset for dataset in _ALL})


def dataset_named(name: str) -> Dataset:
    """The data set of a name.

    Raises
    ------
    ValueError
        There is none.
    """
    if name not in DATASETS:
        raise ValueError(f"there is no data set {name!r}; there are {', '.join(DATASETS)}")
    return DATASETS[name]

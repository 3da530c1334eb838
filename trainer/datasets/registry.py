"""Every data set that ``trainer prepare`` knows, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from trainer.datasets.bhsd import BHSD
from trainer.datasets.case import Dataset
from trainer.datasets.cq500 import CQ500
from trainer.datasets.folder import FOLDER, FOLDER_PICTURES
from trainer.datasets.instance import INSTANCE_2022
from trainer.datasets.kaggle_cyprus import KAGGLE_CYPRUS
from trainer.datasets.kaggle_kitamura import KAGGLE_KITAMURA
from trainer.datasets.phantom import PHANTOM
from trainer.datasets.physionet import PHYSIONET_CT_ICH
from trainer.datasets.physionet_jpeg import PHYSIONET_CT_ICH_JPEG
from trainer.datasets.rsna import RSNA_2019

_ALL = (
    PHYSIONET_CT_ICH,
    PHYSIONET_CT_ICH_JPEG,
    RSNA_2019,
    CQ500,
    KAGGLE_CYPRUS,
    KAGGLE_KITAMURA,
    BHSD,
    INSTANCE_2022,
    FOLDER,
    FOLDER_PICTURES,
    PHANTOM,
)

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

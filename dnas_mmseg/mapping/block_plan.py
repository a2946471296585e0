"""Plan of a scene that is mapped in blocks, stored with the finished blocks to resume from."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dnas_mmseg.errors import UserError, redact_urls
from dnas_mmseg.files import file_states, remove_leftovers, write_json
from dnas_mmseg.raster import source_files

from .products import MapProducts
from .row_blocks import RowBlock, block_path
from .scene_jobs import MapSettings, SceneJob

_PLAN = 'plan.json'


def identify_samples(
    job: SceneJob, settings: MapSettings, model: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what determines the samples of a map, as JSON values.

    Args:
        job: The scene.
        settings: Settings of the call.
        model: Description of the model, see
            :meth:`dnas_mmseg.mapping.loading.ModelSource.describe`.
    """
    return {
        # Signatures of URLs change, and NaN differs from itself.
        'scene': {name: redact_urls(repr(value)) for name, value in asdict(job.source).items()},
        'files': file_states(source_files(job.info.path)),
        'tiling': asdict(settings.tiling),
        'products': [product.kind for product in settings.products.rasters],
        'model': model,
        'weights': settings.weights,
    }


@dataclass(frozen=True)
class BlockPlan:
    """Blocks of a scene, and the folder of the finished ones.

    A block is finished when the file with its notes exists, which is written last.

    Attributes:
        folder: Folder of the blocks, ``<folder of the map>/blocks/<name of the map>``.
        blocks: All blocks of the scene, from top to bottom.
        products: Products of the scene.
    """

    folder: Path
    blocks: tuple[RowBlock, ...]
    products: MapProducts

    @classmethod
    def open(
        cls,
        target: Path,
        blocks: Sequence[RowBlock],
        products: MapProducts,
        settings: Mapping[str, Any],
        resume: bool,
    ) -> BlockPlan:
        """Continue the plan of an earlier run, or begin a new one.

        Args:
            target: Path of the map.
            blocks: Blocks of a new plan.
            products: Products of the scene.
            settings: Result of :func:`identify_samples`.
            resume: Whether to continue a plan with the same settings. Its blocks then apply, even
                if the number of workers has changed.

        Raises:
            UserError: The folder exists and was not written by this class.
        """
        folder = cls.folder_of(target)
        path = folder / _PLAN
        settings = json.loads(json.dumps(settings))
        if folder.is_dir():
            try:
                found = json.loads(path.read_text(encoding='utf-8'))
                edges = [RowBlock(*block) for block in found['blocks']]
            except (OSError, ValueError, KeyError, TypeError):
                if any(child.name != _PLAN for child in folder.iterdir()):
                    raise UserError(
                        f'{folder} exists and is not a folder of blocks of {target}: move it, or '
                        'choose another --out-dir'
                    ) from None
            else:
                if resume and found['settings'] == settings:
                    remove_leftovers(folder)
                    return cls(folder, tuple(edges), products)
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        write_json(path, {'blocks': [list(block) for block in blocks], 'settings': settings})
        return cls(folder, tuple(blocks), products)

    @staticmethod
    def folder_of(target: Path) -> Path:
        """Return the folder of the blocks of a map."""
        return target.parent / 'blocks' / target.stem

    def find_missing(self) -> list[RowBlock]:
        """Return the blocks that are not finished."""
        return [block for block in self.blocks if not self.is_finished(block)]

    def is_finished(self, block: RowBlock) -> bool:
        """Return whether a block is finished."""
        files = [block_path(self.folder, p, block) for p in self.products.rasters]
        return all(path.is_file() for path in (self._notes(block), *files))

    def _notes(self, block: RowBlock) -> Path:
        return self.folder / f'notes_{block.top}.json'

    def finish(self, block: RowBlock, notes: Sequence[str]) -> None:
        """Mark a block as finished."""
        write_json(self._notes(block), list(notes))

    def read_notes(self) -> list[str]:
        """Return the notes of all blocks, from top to bottom, without repetitions."""
        texts = [self._notes(block).read_text(encoding='utf-8') for block in self.blocks]
        return list(dict.fromkeys(note for text in texts for note in json.loads(text)))

    def remove(self) -> None:
        """Remove the finished blocks, after the map is written."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # other scenes have blocks
            os.rmdir(self.folder.parent)

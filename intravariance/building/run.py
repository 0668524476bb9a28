# SPDX-License-Identifier: Apache-2.0
"""The build: plan -> base meshes -> samples -> one HDF5 file.

While it runs, everything lies in a folder beside the target; see `dataset.assembly.work_folder`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from annotations.vocabulary import WRONG_PART
from intravariance.building.plan import SampleJob, make_plan
from intravariance.building.sample import SampleSettings
from intravariance.building.tasks import MeshTask, SampleTask, make_sample_file, prepare_mesh
from intravariance.dataset.added_defects import find_defect, load_defect, recorded
from intravariance.dataset.assembly.sample_files import Finished
from intravariance.dataset.assembly.work_folder import (
    claim,
    finish,
    found_dataset,
    found_finished,
    locked_folder,
    plain_disk_errors,
)
from intravariance.dataset.provenance import code_digest, software
from intravariance.dataset.sharding.shards import Shard
from intravariance.dataset.specification import LARGEST_TOLERANCE, Specification
from intravariance.errors import InputError, IVError
from intravariance.executors import Executor
from intravariance.files.atomic import check_target, write_whole
from intravariance.lengths import UNITS, Length, parse_length
from intravariance.progress import say, track
from intravariance.sources import (
    BaseMesh,
    Choice,
    Source,
    Up,
    choice_notes,
    choose,
    keep_prepared,
    parse_source,
)
from intravariance.sources.added import Added
from intravariance.verification.verify import failures

_CODE = ("annotations", "blender_scripts", "intravariance")
_PACKAGES = ("numpy", "scipy", "h5py", "point-cloud-utils")


@dataclass(frozen=True)
class BuildSettings:
    """Hold everything that decides the content of a dataset, and where to work.

    source : "procedural", "folder:PATH", "modelnet40:PATH", "shapenet:PATH", or the name of
    a source that an installed package adds.
    up : the axis that points up in the source's files, None for the layout's own. follow_links :
    whether links that lead out of the source's folder are followed.
    fill : take embedded designs where the source has too few meshes. skip_bad : leave out base
    meshes that cannot be used. blender : a Blender program, None for the bpy wheel.
    cache : folder for prepared base meshes. noise : in a unit of measure; `samples` has the number
    of radii where it is None. shard : the part of the dataset that is built; None for all of it.
    """

    specification: Specification
    samples: SampleSettings
    source: str
    cache: Path
    up: Up | None = None
    follow_links: bool = False
    fill: bool = False
    skip_bad: bool = False
    blender: Path | None = None
    quiet: bool = False
    noise: Length | None = None
    shard: Shard | None = None

    def identity(
        self, source_label: str, products: Mapping[tuple[str, str], SampleSettings]
    ) -> dict[str, Any]:
        """Return what decides the content, as JSON-able data.

        products : settings of each (category, subcategory). It is stored in the file, and part of
        its digest. The base meshes themselves are named, with their hashes, by the samples'
        parameters. Of lengths that differ from product to product, as they are given in a unit of
        measure, it has the largest number of radii ("noise_sigmas" has the noise of each).
        """
        tolerance = max(product.tolerance for product in products.values())
        given = {} if self.noise is None else {"noise_sigma": str(self.noise)}
        specification = replace(
            self.specification,
            tolerance=tolerance,
            noise_sigma=None,
            given={k: v for k, v in self.specification.given.items() if k != "noise_sigma"} | given,
        )
        sigmas = {f"{c}/{s}": product.noise_sigma for (c, s), product in products.items()}
        return {
            "specification": specification.to_dict(),
            "source": source_label,
            "up": self.up,
            "seed": self.samples.seed,
            "pose": self.samples.pose,
            "noise_sigma": max(sigmas.values()),
            **({} if self.noise is None else {"noise_sigmas": sigmas}),
        }

    def check_units(self) -> None:
        """Raise InputError where a length has a unit of measure and a category's meshes have none.

        Embedded designs have none either.
        """
        given = {**self.specification.given}
        if self.noise is not None:
            given["noise_sigma"] = str(self.noise)
        lacking = [c.name for c in self.specification.categories if not c.unit]
        if given and (lacking or self.source == "procedural" or self.fill):
            lengths = ", ".join(f"{name} = {text}" for name, text in sorted(given.items()))
            raise InputError(
                f"{lengths}: in radii this is another number for each mesh, and "
                + (
                    f"nobody says which unit the mesh files of {', '.join(lacking)} have; give "
                    f'each [[category]] its unit = "mm" (or {", ".join(UNITS)})'
                    if lacking and self.source != "procedural"
                    else "embedded designs have no unit; give lengths in radii, and severity as "
                    "numbers from 0 to 1"
                )
            )

    def of_product(self, base: BaseMesh) -> SampleSettings:
        """Return the settings of a product's samples, with its own lengths in radii."""
        (unit,) = {c.unit for c in self.specification.categories if c.name == base.category}
        radius = base.unit_radius or math.nan
        settings = replace(self.samples, unit=unit)
        if self.noise is not None:
            settings = replace(settings, noise_sigma=self.noise.in_radii(radius, unit))
        if text := self.specification.given.get("tolerance"):
            tolerance = parse_length("tolerance", text)
            assert isinstance(tolerance, Length)
            amplitude = tolerance.in_radii(radius, unit)
            if amplitude > LARGEST_TOLERANCE:
                raise InputError(
                    f"tolerance = {text} is {amplitude:.3g} radii of {base.category}/"
                    f"{base.subcategory}, at most {LARGEST_TOLERANCE} are allowed"
                )
            settings = replace(settings, tolerance=amplitude)
        return settings


@dataclass(frozen=True)
class BuildResult:
    """Hold path and content digest of the file, its samples, and refused draws by defect type."""

    path: Path
    digest: str
    samples: int
    rejections: dict[str, int]


def build(
    settings: BuildSettings, out: Path, executor: Executor, force: bool = False, keep: bool = False
) -> BuildResult:
    """Build the dataset into `out` (.h5), or carry on with an interrupted build of it.

    executor : where base meshes and samples are made. keep : leave a file that is there as it is,
    also with `force`, where it is whole and is what would be built.

    Raises InputError when `out` exists (without `force`), when its partial folder belongs to a
    build with other settings, when base meshes are missing or bad, or when the disk is full;
    BackendUnavailable when Blender cannot be started; IVError when samples could not be made (the
    finished ones are kept), IntegrityError when the result does not verify.
    """
    check_target(out, force or keep)
    settings.check_units()
    _check_added_defects(settings.specification)
    source = parse_source(settings.source, settings.up, settings.follow_links)
    choices = choose(settings.specification, source, settings.samples.seed, settings.fill)
    for note in choice_notes(settings.specification, source, choices):
        say(f"base meshes: {note}", settings.quiet)
    with plain_disk_errors(out), locked_folder(out) as partial:
        bases, blender = _base_meshes(choices, settings, executor)
        products = {product: settings.of_product(base) for product, base in bases.items()}
        metadata: dict[str, Any] = {
            "identity": settings.identity(source.label, products) | extensions(source),
            "software": software(*_PACKAGES) | {"blender": blender},
        }
        made_with = {"base_meshes": _describe(bases), "code": _code(settings.specification)}
        jobs = make_plan(settings.specification, settings.samples.seed)
        if settings.shard is not None:
            jobs = settings.shard.part(jobs)
            metadata = settings.shard.mark(metadata, made_with)
        if keep and (there := found_dataset(out, metadata)) is not None:
            return BuildResult(out, there.digest, len(jobs), _rejections(there.samples))
        check_target(out, force)
        claim(partial, metadata | made_with, out, force)
        files = {job.id: partial / "samples" / f"{job.id}.h5" for job in jobs}
        made = _make_samples(jobs, bases, products, files, settings, executor, partial)
        digest = finish(
            partial, list(files.values()), metadata, out, lambda path: failures(path, executor),
            force, settings.quiet,
        )  # fmt: skip
    return BuildResult(out, digest, len(files), _rejections(made))


def extensions(source: Source) -> dict[str, Any]:
    """Return {"extensions": [...]}, what installed packages add to a build; {} for nothing."""
    used = [source.extension] if isinstance(source, Added) else []
    return {"extensions": [extension.identity for extension in used]} if used else {}


def _check_added_defects(specification: Specification) -> None:
    """Raise InputError where defects that packages add are not those that are installed."""
    for known in specification.added_defects:
        extension = find_defect(known.name)
        if extension is None or recorded(extension) != known:
            found = (
                f"{extension.package} {extension.version}" if extension else "no package with it"
            )
            raise InputError(
                f"the specification's defect {known.name} is that of {known.package} "
                f"{known.version}, and {found} is installed"
            )


def _code(specification: Specification) -> str:
    """Return a digest of the code that makes samples, that of installed packages included."""
    added = set()
    for extension in filter(None, (find_defect(d.name) for d in specification.added_defects)):
        for place in (extension.entry.value, load_defect(extension).function):
            added.add(place.partition(":")[0].partition(".")[0])
    return code_digest(*_CODE, *sorted(added))


def default_cache() -> Path:
    """Return the user's cache folder for prepared base meshes."""
    return user_cache_path("intravariance")


def _base_meshes(
    choices: list[Choice], settings: BuildSettings, executor: Executor
) -> tuple[dict[tuple[str, str], BaseMesh], str]:
    """Prepare the base meshes; return them by category and subcategory, and Blender's version."""
    tasks = [
        MeshTask(choice, settings.cache, settings.skip_bad, settings.blender) for choice in choices
    ]
    bases, versions = {}, set()
    results = executor.run(prepare_mesh, tasks)
    for _, result in track(results, len(tasks), "base meshes", settings.quiet):
        if isinstance(result, IVError):
            raise result
        base, warnings, version, content = result
        if content is not None:
            base = replace(base, path=keep_prepared(settings.cache, base.path.name, content))
        for warning in warnings:
            say(f"warning: {warning}")
        bases[base.category, base.subcategory] = base
        versions.add(version)
    if len(versions) > 1:
        raise InputError(f"workers have different Blenders: {', '.join(sorted(versions))}")
    _check_different(bases)
    return bases, ", ".join(sorted(versions))


def _check_different(bases: dict[tuple[str, str], BaseMesh]) -> None:
    """Raise InputError when two products are one mesh under two names."""
    first: dict[str, BaseMesh] = {}
    for base in bases.values():
        other = first.setdefault(base.sha256, base)
        if other is not base:
            raise InputError(
                f"{base.category}/{base.subcategory} ({base.origin}) and {other.category}/"
                f"{other.subcategory} ({other.origin}) are the same mesh; remove one of the files"
            )


def _describe(bases: dict[tuple[str, str], BaseMesh]) -> dict[str, str]:
    return {f"{c}/{s}": f"{base.origin} {base.sha256}" for (c, s), base in sorted(bases.items())}


def _make_samples(
    jobs: list[SampleJob],
    bases: dict[tuple[str, str], BaseMesh],
    products: dict[tuple[str, str], SampleSettings],
    files: dict[str, Path],
    settings: BuildSettings,
    executor: Executor,
    partial: Path,
) -> list[Finished]:
    """Make the samples that are not there yet; return what there is to know of all."""
    found = {job.id: found_finished(files[job.id], job.id) for job in jobs}
    made = [item for item in found.values() if item is not None]
    if made:
        say(f"carrying on: {len(made)} of {len(jobs)} samples exist", settings.quiet)
    tasks = [
        SampleTask(job, bases[product], products[product], settings.blender, _donors(job, bases))
        # product by product: Blender keeps what it worked out of the last ones
        for job in sorted(jobs, key=lambda job: (job.category, job.subcategory))
        for product in [(job.category, job.subcategory)]
        if found[job.id] is None
    ]
    failed = []
    results = executor.run(make_sample_file, tasks)
    for task, result in track(results, len(tasks), "samples", settings.quiet):
        job = task.job
        if isinstance(result, IVError):
            failed.append(f"{job.id} ({job.subcategory}, {job.defect}): {result}")
            continue
        content, known = result
        write_whole(files[job.id], content)
        made.append(known)
    if failed:
        shown = "\n".join(f"  {failure}" for failure in failed[:20])
        raise IVError(
            f"{len(failed)} of {len(jobs)} samples could not be made; the others are kept in "
            f"{partial}:\n{shown}"
        )
    return made


def _donors(job: SampleJob, bases: Mapping[tuple[str, str], BaseMesh]) -> dict[str, Path]:
    """Return the files of the products that may give a part, for a job that needs one."""
    if job.defect != WRONG_PART:
        return {}
    return {
        subcategory: base.path
        for (category, subcategory), base in sorted(bases.items())
        if category == job.category and subcategory != job.subcategory
    }


def _rejections(made: Iterable[Finished]) -> dict[str, int]:
    """Count the refused draws for each defect type that had some."""
    rejections: Counter[str] = Counter()
    for sample in made:
        rejections[sample.defect] += sample.rejections
    return dict(+rejections)

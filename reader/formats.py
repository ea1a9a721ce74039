"""Files that FFmpeg knows but this reader refuses, by their first bytes, with a name and a remedy for each."""

import re

_FOLLOWS = "a {}, which only names other files: they are not followed"
_MAKE = "{}, which is not read: make another file of it first (ffmpeg -i FILE {}FILE.mp4)"
# Playlists and the like would make a reader open the files or hosts that they name.
_KINDS = [
    (rb"#EXTM3U", _FOLLOWS.format("playlist (HLS, M3U)")),
    (rb"ffconcat version", _FOLLOWS.format("script of ffmpeg's concat")),
    (rb"v=0\r?\n", _FOLLOWS.format("description of a session (SDP)")),
    (rb"\[playlist\]|\[Reference\]|(?i:<asx)|RTSPtext", _FOLLOWS.format("playlist")),
    (rb"<\?xml[^\0]*<MPD|<MPD", _FOLLOWS.format("manifest (DASH)")),
    (rb"<\?xml[^\0]*<(?:smil|playlist|SmoothStreamingMedia|Manifest)|<smil", _FOLLOWS.format("playlist")),
    (rb"RIFF....WEBP", _MAKE.format("a WebP animation or picture", "")),
    (rb"YUV4MPEG2 ", _MAKE.format("raw pictures (Y4M)", "")),
    (rb"\x12\0\x0a.", _MAKE.format("raw AV1", "-c copy ")),  # a temporal delimiter, then a sequence header
    (rb"\.(?:RMF|ra\xfd)", _MAKE.format("RealMedia", "")),
    (rb"nut/multimedia container\0", _MAKE.format("NUT", "-c copy ")),
    (rb"\xb7\xd8\x00\x20\x37\x49\xda\x11", _MAKE.format("a recording of Windows Media Center (WTV)", "")),
    (rb"\x89PNG\r\n\x1a\n", _MAKE.format("a PNG or APNG picture", "")),
    (rb"BIK[bfghik]|KB2[adfghijk]|SMK[24]", _MAKE.format("Bink or Smacker", "")),
    (rb"DHAV", _MAKE.format("a recording of a camera (DHAV)", "")),
]
_PATTERNS = [(re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*" + start, re.DOTALL), what) for start, what in _KINDS]
_LOOK = 4096


def refused(path: str) -> str | None:
    """Return what is wrong with the file if its first bytes show a kind that is not read; else None."""
    with open(path, "rb") as file:
        data = file.read(_LOOK)
        # FFmpeg also looks behind a title tag (ID3v2): a playlist can hide there.
        while data[:3] == b"ID3" and len(data) >= 10:
            size = sum((byte & 0x7F) << 7 * (3 - place) for place, byte in enumerate(data[6:10]))
            file.seek(size + 10 + 10 * bool(data[5] & 0x10) - len(data), 1)
            data = file.read(_LOOK)
    return next((f"not a readable video file: it is {what}" for start, what in _PATTERNS if start.match(data)), None)

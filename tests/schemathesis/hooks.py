"""Bodies that schemathesis cannot write by itself; the test in openapi.rs names this file."""
import schemathesis


def plain(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode()


for media_type in ("multipart/related", "application/dicom"):
    schemathesis.serializer(media_type)(plain)

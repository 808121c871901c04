"""The choices of the front door: network, weights, device, and pictures."""

import threading
from typing import Literal

import streamlit as st
from streamlit.runtime.uploaded_file_manager import DeletedFile, UploadedFile

from inception_viz import images, models
from inception_viz.errors import VisitorError
from inception_viz.figures import attributions as drawing
from inception_viz.images import Picture
from inception_viz.text import Text
from pages.shell import frame, results, session

NAMES_MB = 5
THUMBNAIL = 114  # pixels: three beside each other on a telephone


def _set(attribute: str) -> None:
    chosen, value = session.current(), st.session_state[f"home {attribute}"]
    setattr(chosen, attribute, value)
    if attribute == "architecture":
        chosen.weights = None
        st.session_state.pop("home weights", None)  # or the picker would go on showing what the other network had
    if attribute == "architecture" or value is not None:
        chosen.file = None
    if attribute in ("architecture", "weights"):
        chosen.forget_target()


def _there(key: str) -> UploadedFile | None:
    """What an uploader holds; None, and a word about it, if the server has forgotten the file that the browser still shows."""
    held = st.session_state.get(key)
    if isinstance(held, DeletedFile):
        session.current().choices["gone"] = True
        return None
    return held


def _take_file() -> None:
    upload, chosen = _there("home file"), session.current()
    chosen.file = session.File.of(upload.name, upload.getvalue()) if upload else None
    chosen.uploaded = chosen.uploaded or upload is not None
    if upload and models.described((b"", upload.name)):
        chosen.architecture = st.session_state["home architecture"] = models.CONSTRUCTED
    chosen.weights = None
    st.session_state.pop("home weights", None)
    chosen.forget_target()


def _take_names() -> None:
    upload = _there("home names")
    session.current().class_names = session.File.of(upload.name, upload.getvalue()) if upload else None


def network(text: Text) -> None:
    """Pick the network, its weights and the device."""
    chosen = session.current()
    left, middle, right = st.columns(3)
    with left:
        names = list(models.ARCHITECTURES)
        st.selectbox(
            text("Network"), names, names.index(chosen.architecture), key="home architecture", on_change=_set, args=("architecture",)
        )
    here = models.choices(chosen.architecture)
    with middle:
        own = {None: chosen.file.name} if chosen.file else {}
        told = own | {name: name for name in here}
        index = list(told).index(chosen.weights) if chosen.weights in told else 0
        st.selectbox(
            text("Weights"), list(told), index, key="home weights", on_change=_set, args=("weights",), format_func=told.__getitem__
        )
    with right:
        if results.shared():
            st.selectbox(text("Device"), [text("a Ray cluster")], disabled=True, key="home cluster")
        else:
            devices = models.devices()
            index = devices.index(chosen.device) if chosen.device in devices else devices.index(str(models.choose_device()))
            st.selectbox(text("Device"), devices, index, key="home device", on_change=_set, args=("device",), format_func=_device_name)
    with st.expander(text("Weights of your own, or ImageNet's")):
        st.file_uploader(
            text("Weights: .safetensors, or .pth with a state_dict; or a network described in .json"),
            type=["safetensors", "pth", "pt", "json"],
            key="home file",
            on_change=_take_file,
        )
        st.file_uploader(
            text("Class names (optional): one a line, or a JSON list"),
            type=["txt", "json"],
            key="home names",
            on_change=_take_names,
            max_upload_size=NAMES_MB,
        )
        if "imagenet" not in here:
            _fetch(text, chosen.architecture)


def _device_name(device: str) -> str:
    facts = models.device_facts(models.choose_device(device))
    return f"{facts.name}, {facts.memory_bytes / 2**30:.0f} GiB" if facts.memory_bytes else facts.name


def _fetch(text: Text, architecture: str) -> None:
    """A button that downloads torchvision's ImageNet weights, with progress."""
    if not st.button(text("Download the ImageNet weights of {architecture}", architecture=architecture)):
        return
    lock = _fetching()
    if not lock.acquire(blocking=False):
        st.info(text("Somebody else is downloading weights to this server already. Look again in a minute."))
        return
    bar = st.progress(0.0)
    try:
        for progress in models.fetch_imagenet(architecture):
            share = min(1.0, progress.received / progress.total) if progress.total else 0.0
            bar.progress(share, text("{received} MB", received=round(progress.received / 1e6)))
    except VisitorError as error:
        bar.empty()
        st.error(results.plain(error.told(text)))
        return
    finally:
        lock.release()
    st.rerun()


@st.cache_resource(show_spinner=False)
def _fetching() -> threading.Lock:
    return threading.Lock()


def _take(given: list[UploadedFile | DeletedFile]) -> None:
    """Show those that are pictures, and remember what is wrong with the others."""
    uploads = [upload for upload in given if not isinstance(upload, DeletedFile)]
    if len(uploads) < len(given):  # the server was started anew under the open page
        session.current().choices["gone"] = True
    found: list[Picture] = []
    problems: list[tuple[str, VisitorError]] = []
    for upload in uploads[: session.MOST_PICTURES]:
        try:
            found.append(images.decode(upload.getvalue(), upload.name))
        except VisitorError as error:
            problems.append((images.shown_name(upload.name), error))
    if found:
        session.current().show(found)
        session.current().uploaded = True
    session.current().choices["problems"] = problems
    session.current().choices["too many"] = max(0, len(uploads) - session.MOST_PICTURES)


def _take_pictures() -> None:
    _take(st.session_state.get("home pictures") or [])


def _take_camera() -> None:
    shot = st.session_state.get("home camera")
    _take([shot] if shot else [])


def _problems(text: Text) -> None:
    chosen = session.current()
    for name, error in chosen.choices.get("problems", []):
        st.error(results.plain(text("“{name}”: {reason}", name=name, reason=error.told(text))))
    if extra := chosen.choices.get("too many", 0):
        st.warning(text.plural("{n} picture more than allowed was left out.", "{n} pictures more than allowed were left out.", extra))


def _take_sample(name: str) -> None:
    _take([])
    session.current().show([session.sample(name)])


def _show(index: int) -> None:
    chosen = session.current()
    chosen.shown = index
    chosen.forget_target()


def pictures(text: Text) -> None:
    """Pick a picture: a sample, an upload of up to twelve, or the camera."""
    chosen = session.current()
    sample, upload, camera = st.tabs([text("Samples"), text("Upload"), text("Camera")])
    with sample:
        row = st.container(horizontal=True, gap="xsmall")
        for name, entry in images.samples().items():
            with row.container(width=THUMBNAIL):
                frame.picture(results.thumbnail(session.sample(name)), text(entry.title))
                st.button(
                    text(entry.title),
                    key=f"sample {name}",
                    on_click=_take_sample,
                    args=(name,),
                    width="stretch",
                    help=f"{entry.source}, {entry.licence}",
                )
    with upload:
        st.file_uploader(
            text("Up to {n} pictures; they stay in this server's memory and go when you do", n=session.MOST_PICTURES), key="home pictures",
            accept_multiple_files=True, on_change=_take_pictures, max_upload_size=images.MAX_BYTES // 1_000_000,
        )  # fmt: skip
    with camera:
        if st.toggle(text("Use the camera")):
            st.camera_input(text("Take a picture"), key="home camera", on_change=_take_camera)
    _problems(text)
    if len(chosen.pictures) > 1:
        row = st.container(horizontal=True, gap="xsmall")
        for index, picture in enumerate(chosen.pictures):
            kind: Literal["primary", "secondary"] = "primary" if index == chosen.shown else "secondary"
            with row.container(width=THUMBNAIL):
                frame.picture(results.thumbnail(picture), picture.name)
                st.button(
                    text("Look at {n}", n=index + 1), key=f"picture {index}", on_click=_show, args=(index,), type=kind, width="stretch"
                )


def answer(text: Text) -> None:
    """What the network saw, and what it says it is."""
    found = results.analysis(text)
    left, right = st.columns([1, 2], gap="large")
    with left:
        what = text("What the network sees: {side} x {side} pixels", side=found.view.shape[0])
        frame.picture(results.seen(found), what, caption=what)
    with right:
        st.subheader(text("What the network says"), anchor=False)
        frame.show(drawing.predictions(found.predictions, text), "predictions")

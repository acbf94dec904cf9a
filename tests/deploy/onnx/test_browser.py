"""An exported classifier in a browser: onnxruntime-web, fetched by npm, computes it in Chromium."""

import http.server
import json
import shutil
import subprocess
import sys
import tarfile
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import multiattn
from tests.fixtures import draw

ROOT = Path(__file__).parents[3]
PACKAGE = "onnxruntime-web@1.22.0"
PAGE = """<!doctype html><script src="package/dist/ort.wasm.min.js"></script><script>
async function classify(pixels, shape) {
  ort.env.wasm.numThreads = 1
  const session = await ort.InferenceSession.create("model/model.onnx")
  const images = new ort.Tensor("float32", Float32Array.from(pixels), shape)
  const found = await session.run({images})
  return Array.from(found.logits.data)
}
</script>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.mark.slow
@pytest.mark.browser
def test_a_classifier_in_chromium(tmp_path: Path) -> None:
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists() or shutil.which("npm") is None:
        pytest.skip("needs Chromium and npm")
    playwright = pytest.importorskip("playwright.sync_api")
    packed = subprocess.run(["npm", "pack", PACKAGE, "--silent"], cwd=tmp_path, capture_output=True, timeout=300)
    if packed.returncode:
        pytest.skip("npm reaches no registry")
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    command = [sys.executable, "-m", "multiattn", "export", "classify", str(tmp_path / "model"), "--to", "onnx"]
    subprocess.run(command, cwd=ROOT, capture_output=True, timeout=900, check=True)
    (tmp_path / "index.html").write_text(PAGE, encoding="utf-8")
    classifier = multiattn.load("classify", device="cpu")
    images = np.stack([classifier.bundle.pictures.array(draw(seed))[0] for seed in range(3)])
    with torch.no_grad():
        wanted = classifier.vision(torch.from_numpy(images)).numpy()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with playwright.sync_playwright() as api:
            browser = api.chromium.launch(executable_path=str(chromium), args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page()
            page.set_default_timeout(120_000)
            page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
            call = f"classify({json.dumps(images.ravel().tolist())}, {list(images.shape)})"
            found = np.array(page.evaluate(call)).reshape(wanted.shape)
            browser.close()
    finally:
        server.shutdown()
        server.server_close()
    np.testing.assert_allclose(found, wanted, atol=1e-4)

"""File mounts and downloads: what the web may do, what is kept, what the log says."""

import base64
import gzip
import hashlib
import os
from typing import Any

import pytest

from executor.bench import Bench, shell
from executor.mounts.downloading import CONTENT, SHA256, file
from executor.mounts.web import Request, Web, cut_after, endless, trickle


@pytest.mark.parametrize(
    "content", [{"raw": "hello\n"}, {"base64": base64.b64encode(CONTENT).decode()}], ids=["raw", "base64"]
)
def test_inline_content_is_written_as_it_is_meant(mounting: Bench, content: dict[str, Any]) -> None:
    result = mounting.run(shell("cat f a/b/f; stat -c %a f"), mounts=[file(content), file(content, "a/b/f")])

    assert result.output == ["hello", "hello", "644"]


def test_the_largest_raw_content_is_accepted_and_one_more_is_malformed(mounting: Bench) -> None:
    most = mounting.run(shell("wc -c < f"), mounts=[file({"raw": "x" * 65536})])
    more = mounting.run(shell("wc -c < f"), mounts=[file({"raw": "x" * 65537})])

    assert most.output == ["65536"]
    assert more.outcome.reason == "malformed-payload"
    assert "- mounts.0.content.raw: " in more.log
    assert len(more.log) < 100_000


def test_a_download_is_described_and_kept(mounting: Bench, web: Web) -> None:
    url = web.page("/f", CONTENT)
    first = mounting.run(shell("cat f"), mounts=[file({"url": url, "sha256": SHA256})])
    second = mounting.run(shell("cat f"), mounts=[file({"url": url, "sha256": SHA256})])

    assert first.output == second.output == ["hello"]
    place = next((mounting.state_dir / "downloads").glob("*/content"))
    for line in (
        f"[mounts] Downloading url {url} to {place}",
        f"[mounts] Downloaded 6 bytes with SHA256 {SHA256} from url {url} to {place}",
        f"[mounts] Content from url {url} ({place}) matches required SHA256 {SHA256}",
    ):
        assert line in first.log
    assert f"[mounts] Found existing download for urlcontent:{url} ({place}) with correct SHA256 {SHA256}" in second.log
    assert web.count("/f") == 1


def test_without_a_sha256_the_log_warns_each_time(mounting: Bench, web: Web) -> None:
    url = web.page("/f", CONTENT)
    first = mounting.run(shell("cat f"), mounts=[file({"url": url})])
    second = mounting.run(shell("cat f"), mounts=[file({"url": url})])

    assert "does not declare a required value, so content authenticity cannot be verified" in first.log
    assert f"No SHA256 specified in task mounts for urlcontent:{url} - SHA256 from downloaded file" in second.log


def test_another_content_than_required_fails_the_task_and_is_not_kept(mounting: Bench, web: Web) -> None:
    url = web.page("/f", CONTENT)
    result = mounting.run(shell("cat f"), mounts=[file({"url": url, "sha256": "0" * 64})])

    assert (result.outcome.state, result.outcome.reason) == ("failed", "failed")
    assert (
        f"has SHA256 {SHA256} but task definition explicitly requires {'0' * 64}; not retrying download" in result.log
    )
    assert result.output == []
    assert not list((mounting.state_dir / "downloads").glob("*/content"))


def test_what_was_kept_is_fetched_anew_when_the_task_requires_something_else(mounting: Bench, web: Web) -> None:
    url = web.page("/f", b"old\n")
    mounting.run(shell("cat f"), mounts=[file({"url": url})])
    web.page("/f", CONTENT)

    result = mounting.run(shell("cat f"), mounts=[file({"url": url, "sha256": SHA256})])

    assert result.output == ["hello"]
    assert f"but task definition explicitly requires {SHA256} so deleting it" in result.log


def test_a_damaged_download_is_noticed_and_replaced(mounting: Bench, web: Web) -> None:
    url = web.page("/f", CONTENT)
    mounting.run(shell("cat f"), mounts=[file({"url": url})])
    kept = next((mounting.state_dir / "downloads").glob("*/content"))
    kept.chmod(0o600)
    kept.write_bytes(b"evil!\n")

    result = mounting.run(shell("cat f"), mounts=[file({"url": url})])

    assert result.output == ["hello"]
    assert "damaged, so deleting it" in result.log


def test_a_kept_file_that_is_gone_is_downloaded_again(mounting: Bench, web: Web) -> None:
    url = web.page("/f", CONTENT)
    mounting.run(shell("cat f"), mounts=[file({"url": url})])
    next((mounting.state_dir / "downloads").glob("*/content")).unlink()

    assert mounting.run(shell("cat f"), mounts=[file({"url": url})]).output == ["hello"]


@pytest.mark.root
def test_the_store_is_not_for_tasks_to_see(mounting: Bench, web: Web) -> None:
    url = web.page("/f", CONTENT)
    script = f"cat f; ls {mounting.state_dir}/downloads {mounting.state_dir}/caches {mounting.state_dir}/unpacked"

    result = mounting.run(shell(script), mounts=[file({"url": url})])

    assert result.log.count("Permission denied") == 3
    assert next((mounting.state_dir / "downloads").glob("*/content")).stat().st_mode & 0o777 == 0o400


@pytest.mark.parametrize(
    ("status", "text"), [(404, "status 404 Not Found"), (403, "status 403 Forbidden"), (410, "status 410 Gone")]
)
def test_a_server_that_refuses_fails_the_task_at_once(mounting: Bench, web: Web, status: int, text: str) -> None:
    result = mounting.run(shell("true"), mounts=[file({"url": web.page("/f", b"no", status)})])

    assert result.outcome.state == "failed"
    assert f"[taskcluster:error] [mounts] Could not fetch from url {web.url}/f into file" in result.log
    assert text in result.log
    assert web.count("/f") == 1


def test_passing_trouble_is_tried_again(mounting: Bench, web: Web) -> None:
    def handler(request: Request) -> None:
        request.reply(*((b"", 503) if web.count("/f") < 3 else (CONTENT, 200)))

    assert mounting.run(shell("cat f"), mounts=[file({"url": web.on("/f", handler)})]).output == ["hello"]


def test_a_broken_download_goes_on_where_it_broke(mounting: Bench, web: Web) -> None:
    body = os.urandom(300_000)
    ranges: list[str] = []
    inner = cut_after(body, 100_000)

    def handler(request: Request) -> None:
        ranges.append(request.headers.get("Range", ""))
        inner(request)

    digest = hashlib.sha256(body).hexdigest()
    result = mounting.run(shell("sha256sum < f"), mounts=[file({"url": web.on("/f", handler), "sha256": digest})])

    assert result.output == [f"{digest}  -"]
    assert ranges == ["", "bytes=100000-"]


def test_a_broken_download_begins_anew_when_the_server_cannot_continue(mounting: Bench, web: Web) -> None:
    def handler(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(CONTENT)))
        request.end_headers()
        request.wfile.write(CONTENT[:2] if web.count("/f") == 1 else CONTENT)

    assert mounting.run(shell("cat f"), mounts=[file({"url": web.on("/f", handler)})]).output == ["hello"]


def test_a_url_that_never_ends_meets_the_size_limit(mounting: Bench, web: Web) -> None:
    mounting.use(executor={"max_download_bytes": 10_000_000}, taskcluster={"root_url": web.url})
    result = mounting.run(shell("true"), mounts=[file({"url": web.on("/f", endless)})])

    assert result.outcome.state == "failed"
    assert "it is larger than 10000000 bytes, the most that this worker downloads" in result.log
    assert not list((mounting.state_dir / "downloads").glob("*/content"))


def test_a_url_that_trickles_for_ever_meets_the_time_limit(mounting: Bench, web: Web) -> None:
    mounting.use(executor={"mount_timeout_s": 1}, taskcluster={"root_url": web.url})

    assert "it takes longer than 1 s" in mounting.run(shell("true"), mounts=[file({"url": web.on("/f", trickle)})]).log


def test_a_cancelled_task_stops_downloading(mounting: Bench, web: Web) -> None:
    run = mounting.claim({"command": [["true"]], "maxRunTime": 9, "mounts": [file({"url": web.on("/f", trickle)})]})
    job = mounting.start(run)
    mounting.wait_for_line(run, "Downloading url")

    mounting.records.abort(run, "canceled")

    assert job.wait() == 0
    assert mounting.result(run).outcome.reason == "canceled"


def test_redirects_without_end_fail_the_task(mounting: Bench, web: Web) -> None:
    url = web.page("/f", b"", 302, Location="/f")

    assert "redirects more than 10 times" in mounting.run(shell("true"), mounts=[file({"url": url})]).log
    assert web.count("/f") == 11


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("file:///etc/shadow", "neither http nor https"),
        ("ftp://localhost/x", "neither http nor https"),
        ("http://[::1", "a URL that is none"),
        ("http://localhost:99999/", "a URL that is none"),
    ],
)
def test_a_redirect_to_something_else_than_the_web_is_refused(
    mounting: Bench, web: Web, location: str, text: str
) -> None:
    result = mounting.run(shell("true"), mounts=[file({"url": web.page("/f", b"", 302, Location=location)})])

    assert result.outcome.state == "failed"
    assert text in result.log


def test_content_that_a_task_may_get_from_its_own_proxy_is_no_url_content(mounting: Bench, web: Web) -> None:
    web.page("/api/secrets/v1/secret/x", b"secret")
    direct = f"http://127.77.9.9:{web.port}/api/secrets/v1/secret/x"
    mapped = direct.replace("127.77.9.9", "[::ffff:127.77.9.9]")
    for url in (direct, web.page("/f", b"", 302, Location=direct), mapped):
        result = mounting.run(shell("cat f"), mounts=[file({"url": url})])
        assert "it leads to the proxies of tasks" in result.log
        assert result.output == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://", "nothing", "http://a:99999/", "http://a b/", "gopher://a/"]
)
def test_a_url_that_is_none_is_malformed(mounting: Bench, url: str) -> None:
    result = mounting.run(shell("true"), mounts=[file({"url": url})])

    assert result.outcome.reason == "malformed-payload"
    assert "- mounts.0.content.url: must be an http or https URL" in result.log


def test_a_password_in_a_url_is_used_and_not_shown(mounting: Bench, web: Web) -> None:
    seen: list[str] = []

    def handler(request: Request) -> None:
        seen.append(request.headers.get("Authorization", ""))
        request.reply(CONTENT)

    web.on("/f", handler)
    result = mounting.run(shell("cat f"), mounts=[file({"url": f"http://me:sesame@localhost:{web.port}/f"})])

    assert result.output == ["hello"]
    assert seen == [f"Basic {base64.b64encode(b'me:sesame').decode()}"]
    assert "sesame" not in result.log


def test_what_is_stored_compressed_is_mounted_as_it_was_published(mounting: Bench, web: Web) -> None:
    stored = gzip.compress(CONTENT[:3]) + gzip.compress(CONTENT[3:])
    url = web.page("/f", stored, Content_Encoding="gzip")

    assert mounting.run(shell("cat f"), mounts=[file({"url": url, "sha256": SHA256})]).output == ["hello"]


def test_a_bomb_in_the_content_encoding_meets_the_size_limit(mounting: Bench, web: Web) -> None:
    mounting.use(executor={"max_download_bytes": 1_000_000}, taskcluster={"root_url": web.url})
    url = web.page("/f", gzip.compress(bytes(100_000_000)), Content_Encoding="gzip")

    assert "it is larger than 1000000 bytes" in mounting.run(shell("true"), mounts=[file({"url": url})]).log


def test_two_tasks_that_want_the_same_download_it_once(mounting: Bench, web: Web) -> None:
    release: list[bool] = []

    def handler(request: Request) -> None:
        Bench.wait_until(lambda: bool(release))
        request.reply(CONTENT)

    payload = {"command": shell("cat f"), "maxRunTime": 9, "mounts": [file({"url": web.on("/f", handler)})]}
    runs = [mounting.claim(payload) for _ in range(2)]
    first = mounting.start(runs[0])
    mounting.wait_for_line(runs[0], "Downloading url")
    second = mounting.start(runs[1])
    mounting.wait_for_line(runs[1], "Waiting for another task that is downloading url")
    release.append(True)

    assert (first.wait(), second.wait()) == (0, 0)
    assert [mounting.result(run).output for run in runs] == [["hello"], ["hello"]]
    assert web.count("/f") == 1


def test_a_download_whose_task_was_killed_does_not_hinder_the_next(mounting: Bench, web: Web) -> None:
    url = web.on("/f", trickle)
    run = mounting.claim({"command": [["true"]], "maxRunTime": 9, "mounts": [file({"url": url})]})
    job = mounting.start(run)
    mounting.wait_for_line(run, "Downloading url")
    job.kill()
    web.page("/f", CONTENT)

    assert mounting.run(shell("cat f"), mounts=[file({"url": url})]).output == ["hello"]

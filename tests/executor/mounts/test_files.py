"""File mounts and downloads: what the web may do, what is kept, what the log says."""

import base64
import gzip
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from executor.bench import Bench, shell
from executor.mounts.web import Request, Web, cut_after, endless, trickle

TASK = "AAAAAAAAQAaAAAAAAAAAAA"
CONTENT = b"hello\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def file(content: dict[str, Any], path: str = "f", **more: Any) -> dict[str, Any]:
    return {"file": path, "content": content, **more}


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
    for url in (direct, web.page("/f", b"", 302, Location=direct)):
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


class TestArtifacts:
    def mount(self, name: str = "public/f", **more: Any) -> dict[str, Any]:
        return file({"taskId": TASK, "artifact": name, **more})

    def payload(self, *mounts: Any) -> dict[str, Any]:
        return {"command": shell("cat f"), "maxRunTime": 9, "mounts": list(mounts)}

    def test_an_artifact_comes_through_the_proxy(self, mounting: Bench, web: Web) -> None:
        web.artifact(TASK, "public/f", CONTENT)

        result = mounting.run_payload(self.payload(self.mount()), dependencies=[TASK])

        assert result.output == ["hello"]
        assert f"[mounts] Downloading task {TASK} artifact public/f to " in result.log
        assert not list(mounting.redis.scan_iter("tw:peer:*"))

    def test_a_task_that_is_no_dependency_is_malformed(self, mounting: Bench, web: Web) -> None:
        result = mounting.run_payload(self.payload(self.mount()))

        assert result.outcome.reason == "malformed-payload"
        line = f"[mounts] task.dependencies needs to include {TASK} since one or more of its artifacts are mounted"
        assert f"[taskcluster:error] {line}" in result.log

    def test_a_worker_without_proxy_says_so(self, mounting: Bench) -> None:
        mounting.settings = type(mounting.settings)(**{**vars(mounting.settings), "others": {}})

        result = mounting.run_payload(self.payload(self.mount()), dependencies=[TASK])

        assert result.outcome.reason == "malformed-payload"
        assert "needs a proxy, which is not enabled on this worker" in result.log

    def test_the_queues_own_words_are_in_the_log(self, mounting: Bench, web: Web) -> None:
        result = mounting.run_payload(self.payload(self.mount("public/none")), dependencies=[TASK])

        assert result.outcome.state == "failed"
        assert "status 404 Not Found: no such thing" in result.log

    def test_a_private_artifact_that_is_kept_is_not_for_everybody(self, mounting: Bench, web: Web) -> None:
        web.artifact(TASK, "private/f", CONTENT)
        allowed = mounting.run_payload(self.payload(self.mount("private/f")), dependencies=[TASK])
        web.artifact(TASK, "private/f", CONTENT, status=403)

        refused = mounting.run_payload(self.payload(self.mount("private/f", sha256=SHA256)), dependencies=[TASK])

        assert allowed.output == ["hello"]
        assert refused.output == []
        assert "status 403 Forbidden: not for you" in refused.log

    def test_an_indexed_artifact_is_looked_up_each_time(self, mounting: Bench, web: Web) -> None:
        other = "BBBBBBBBQBaBBBBBBBBBBA"
        mount = file({"namespace": "a.b", "artifact": "public/f"})
        for task_id, content in ((TASK, b"one\n"), (other, b"two\n")):
            web.page("/api/index/v1/task/a.b", b'{"taskId": "%s"}' % task_id.encode())
            web.artifact(task_id, "public/f", content)
            assert mounting.run_payload(self.payload(mount)).output == [content.decode().strip()]

    @pytest.mark.parametrize("answer", [b"[]", b"{}", b"nonsense", b'{"taskId": "../../secrets"}'])
    def test_an_index_that_lies_fails_the_task(self, mounting: Bench, web: Web, answer: bytes) -> None:
        web.page("/api/index/v1/task/a.b", answer)

        result = mounting.run_payload(self.payload(file({"namespace": "a.b", "artifact": "public/f"})))

        assert result.outcome.state == "failed"
        assert "[mounts] Could not find a.b in the index" in result.log


class TestPlaces:
    @pytest.mark.parametrize("path", [".", "x/..", "./"])
    def test_a_file_cannot_be_where_the_task_directory_is(self, mounting: Bench, path: str) -> None:
        result = mounting.run(shell("true"), mounts=[file({"raw": "x"}, path)])

        assert result.outcome.state == "failed"
        assert "since it already exists as a directory" in result.log

    def test_a_file_cannot_be_where_a_directory_is(self, mounting: Bench) -> None:
        result = mounting.run(shell("true"), mounts=[file({"raw": "x"}, "d/f"), file({"raw": "x"}, "d")])

        assert result.outcome.state == "failed"
        assert "/d since it already exists as a directory" in result.log

    def test_a_directory_cannot_be_where_a_file_is(self, mounting: Bench) -> None:
        result = mounting.run(
            shell("true"),
            mounts=[file({"raw": "x"}, "d"), {"directory": "d", "cacheName": "c"}],
        )

        assert result.outcome.reason == "malformed-payload"  # no scope

    @pytest.mark.parametrize("second", ["a/f", "./a/f", "a//f", "a/b/../f"])
    def test_two_mounts_cannot_have_one_place(self, mounting: Bench, second: str) -> None:
        result = mounting.run(shell("true"), mounts=[file({"raw": "x"}, "a/f"), file({"raw": "y"}, second)])

        assert result.outcome.state == "failed"
        assert "[mounts] two mounts want the same place: /" in result.log

    @pytest.mark.root
    @pytest.mark.parametrize("path", ["/etc/x", "/x", "../x", "/root/x", "/proc/x", "/etc/passwd"])
    def test_a_place_that_is_not_the_tasks_is_refused(self, mounting: Bench, path: str) -> None:
        before = Path("/etc/passwd").read_bytes().count(b"\n")

        result = mounting.run(shell("true"), mounts=[file({"raw": "x"}, path)])

        assert result.outcome.state == "failed"
        assert "[mounts] cannot make /" in result.log
        assert abs(Path("/etc/passwd").read_bytes().count(b"\n") - before) < 20

    @pytest.mark.root
    def test_an_absolute_place_that_the_tasks_user_can_make_is_made(self, mounting: Bench) -> None:
        place = mounting.state_dir / "open/f"
        place.parent.mkdir()
        place.parent.chmod(0o777)

        assert mounting.run(shell(f"cat {place}"), mounts=[file({"raw": "x\n"}, str(place))]).output == ["x"]

    def test_a_long_name_is_an_error_of_the_task(self, mounting: Bench) -> None:
        result = mounting.run(shell("true"), mounts=[file({"raw": "x"}, "n" * 300)])

        assert result.outcome.state == "failed"
        assert "File name too long" in result.log

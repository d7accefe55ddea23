"""A Hub on this machine: as much of the HTTP interface as huggingface_hub uses for models and Spaces, kept in memory.

    with LoopbackHub() as hub:
        ...  # a process with HF_ENDPOINT=hub.url, HF_HUB_DISABLE_XET=1 and HF_TOKEN=OWNER
        assert hub.repos["org/model"].files["config.json"] == b"{}"
        assert len(hub.requests) == 1

Repositories are made by pushing to them; that of a Space is `hub.repos["spaces/org/name"]`. A test reads and changes
their state as it likes: `private`, `gated` and `damage` of a repository, `offline` and `requests` of the hub.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

OWNER, READER, STRANGER = "hf_owner", "hf_reader", "hf_stranger"  # tokens: writes, reads what is private, neither
LARGE = (".safetensors", ".png")  # stored as LFS does
Files = dict[str, bytes]


class RefusalError(Exception):
    """Ends a request with an error as the Hub words it."""

    def __init__(self, status: int, code: str = "", message: str = "", **headers: str):
        super().__init__(message)
        self.status, self.headers = status, {"X-Error-Code": code, "X-Error-Message": message, **headers}


@dataclass
class Repo:
    name: str
    private: bool = False
    gated: bool = False
    commits: dict[str, Files] = field(default_factory=dict)  # commit -> all files
    messages: list[str] = field(default_factory=list)  # of the commits
    refs: dict[str, str] = field(default_factory=dict)  # branches, and refs/pr/N -> commit
    tags: dict[str, str] = field(default_factory=dict)
    # Path -> what becomes of the bytes on their way to the client; size and digest are told as they should be.
    damage: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    # Of a Space.
    sdk: str | None = None
    hardware: str | None = None
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> Files:
        """Of the newest commit on main."""
        return self.commits[self.refs["main"]]

    def commit(self, ref: str, files: Files, message: str) -> str:
        content = repr((self.name, len(self.messages), sorted(files.items())))
        sha = hashlib.sha1(content.encode()).hexdigest()
        self.commits[sha] = files
        self.messages.append(message)
        self.refs[ref] = sha
        return sha

    def resolve(self, revision: str) -> str:
        sha = self.refs.get(revision) or self.tags.get(revision) or revision
        if sha not in self.commits:
            raise RefusalError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return sha


class LoopbackHub(ThreadingHTTPServer):
    """Serves from the moment it is made until the end of the `with` block."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.repos: dict[str, Repo] = {}
        self.large_files: dict[str, bytes] = {}  # SHA-256 -> content
        self.requests: list[str] = []  # "METHOD path?query", in order
        self.offline = False  # break every connection
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()


def digest(path: str, content: bytes) -> str:
    """What the Hub calls a file by: SHA-256 of large files, git's own hash of the others."""
    if path.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    server: LoopbackHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms between its headers and its content
    # Method, path, function. The repository is looked up, and permission checked, where the path has one.
    ROUTES = (
        ("POST", r"/api/repos/create", "create_repo"),
        ("POST", r"/api/validate-yaml", "validate_card"),
        ("PUT", r"/large/(?P<oid>\w{64})", "receive_large_file"),
        ("POST", r"/(?P<repo>(?:spaces/)?[^/]+/[^/]+)\.git/info/lfs/objects/batch", "announce_large_files"),
        ("GET", r"/api/(?P<kind>models|spaces)/(?P<repo>[^/]+/[^/]+)", "describe"),
        ("GET", r"/api/(?P<kind>models|spaces)/(?P<repo>[^/]+/[^/]+)/revision/(?P<revision>.+)", "describe"),
        ("GET", r"/api/(?P<kind>models|spaces)/(?P<repo>[^/]+/[^/]+)/refs", "list_refs"),
        ("GET", r"/api/(?P<kind>models|spaces)/(?P<repo>[^/]+/[^/]+)/auth-check/write", "check_right_to_write"),
        ("POST", r"/api/(?P<kind>models|spaces)/(?P<repo>[^/]+/[^/]+)/preupload/(?P<revision>.+)", "announce_files"),
        ("POST", r"/api/(?P<kind>models|spaces)/(?P<repo>[^/]+/[^/]+)/commit/(?P<revision>.+)", "make_commit"),
        ("POST", r"/api/(?P<kind>models|spaces)/(?P<repo>[^/]+/[^/]+)/branch/(?P<branch>.+)", "make_branch"),
        ("POST", r"/api/(?P<kind>models|spaces)/(?P<repo>[^/]+/[^/]+)/tag/(?P<revision>.+)", "make_tag"),
        ("POST", r"/api/(?P<kind>spaces)/(?P<repo>[^/]+/[^/]+)/secrets", "set_secret"),
        ("POST", r"/api/(?P<kind>spaces)/(?P<repo>[^/]+/[^/]+)/hardware", "set_hardware"),
        ("(?:GET|HEAD)", r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>refs/pr/\d+|[^/]+)/(?P<path>.+)", "send_file"),
    )

    def log_message(self, *args: object) -> None:
        """Silence; `requests` has it all."""

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.offline:
            self.close_connection = True
            return
        address = urlsplit(self.path)
        self.query = parse_qs(address.query)
        with self.server.lock:
            self.server.requests.append(f"{self.command} {unquote(self.path)}")
            try:
                self.route(unquote(address.path), body)
            except RefusalError as refusal:
                self.reply({"error": str(refusal)}, refusal.status, **refusal.headers)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request  # noqa: N815

    def route(self, path: str, body: bytes) -> None:
        for method, pattern, function in self.ROUTES:
            if re.fullmatch(method, self.command) and (found := re.fullmatch(pattern, path)):
                arguments = found.groupdict()
                if "repo" in arguments:
                    folder = "spaces/" if arguments.pop("kind", None) == "spaces" else ""
                    arguments["repo"] = self.find_repo(folder + arguments["repo"])
                return getattr(self, function)(body=body, **arguments)
        raise RefusalError(404, message=f"the loopback hub does not know {self.command} {path}")

    def find_repo(self, name: str) -> Repo:
        """The repository, if the client may do with it what it asks for."""
        repo, token = self.server.repos.get(name), self.token()
        if repo is None or (repo.private and token not in (OWNER, READER)):
            # The Hub does not tell a stranger whether there is such a repository.
            raise RefusalError(404 if token else 401, "RepoNotFound", "Repository not found")
        if repo.gated and "/resolve/" in self.path and token != OWNER:
            raise RefusalError(403, "GatedRepo", f"Access to model {name} is restricted")
        proposes = "create_pr" in self.query or self.path.endswith("/objects/batch")
        if self.command == "POST" and token != OWNER and not (token and proposes):
            raise RefusalError(403 if token else 401, message="you don't have the right to write")
        return repo

    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def reply(self, value: object = None, status: int = 200, content: bytes | None = None, **headers: str) -> None:
        data = json.dumps(value).encode() if content is None else content
        self.send_response(status)
        for name, text in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    # Write

    def create_repo(self, body: bytes) -> None:
        request = json.loads(body)
        folder = "spaces/" if request.get("type") == "space" else ""
        name = f"{folder}{request.get('organization')}/{request['name']}"
        if self.token() != OWNER:
            raise RefusalError(403 if self.token() else 401, message=f"you don't have the right to create {name}")
        url = {"url": f"{self.server.url}/{name}"}
        if name in self.server.repos:
            return self.reply({"error": "You already created this model repo", **url}, 409)
        repo = self.server.repos[name] = Repo(name, private=request.get("visibility") == "private")
        repo.sdk, repo.hardware = request.get("sdk"), request.get("hardware")
        repo.secrets = {secret["key"]: secret["value"] for secret in request.get("secrets", ())}
        repo.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
        self.reply(url)

    def validate_card(self, body: bytes) -> None:
        self.reply({"errors": [], "warnings": []})

    def announce_files(self, repo: Repo, revision: str, body: bytes) -> None:
        """The client names the files of a commit; the hub says how it wants each, and what it already has."""
        old, answers = repo.commits[repo.resolve(revision)], []
        for file in json.loads(body)["files"]:
            path = file["path"]
            mode = "lfs" if path.endswith(LARGE) else "regular"
            oid = digest(path, old[path]) if path in old else None
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.reply({"files": answers})

    def announce_large_files(self, repo: Repo, body: bytes) -> None:
        answers = []
        for file in json.loads(body)["objects"]:
            address = {"href": f"{self.server.url}/large/{file['oid']}", "header": {}}
            known = file["oid"] in self.server.large_files
            answers.append({**file, **({} if known else {"actions": {"upload": address}})})
        self.reply({"transfer": "basic", "objects": answers}, **{"Content-Type": "application/vnd.git-lfs+json"})

    def receive_large_file(self, oid: str, body: bytes) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            raise RefusalError(400, message="the content has another SHA-256")
        self.server.large_files[oid] = body
        self.reply({})

    def make_commit(self, repo: Repo, revision: str, body: bytes) -> None:
        header, *operations = (json.loads(line) for line in body.splitlines())
        head = repo.resolve(revision)
        if header["value"].get("parentCommit") not in (None, head):
            raise RefusalError(412, message="A commit has happened since. Please refresh and try again.")
        files = dict(repo.commits[head])
        for operation in operations:
            kind, value = operation["key"], operation["value"]
            if kind == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                files[value["path"]] = self.server.large_files[value["oid"]]
            else:  # deletedFile, or deletedFolder with a slash at its end
                files = {path: content for path, content in files.items() if not path.startswith(value["path"])}
        answer, ref = {}, revision
        if "create_pr" in self.query:
            ref = f"refs/pr/{1 + sum(ref.startswith('refs/pr/') for ref in repo.refs)}"
            answer = {"pullRequestUrl": f"{self.server.url}/{repo.name}/discussions/{ref.split('/')[-1]}"}
        sha = repo.commit(ref, files, header["value"]["summary"])
        self.reply({"commitOid": sha, "commitUrl": f"{self.server.url}/{repo.name}/commit/{sha}", **answer})

    def make_branch(self, repo: Repo, branch: str, body: bytes) -> None:
        if branch in repo.refs:
            raise RefusalError(409, message="Reference already exists")
        repo.refs[branch] = repo.refs["main"]
        self.reply({})

    def make_tag(self, repo: Repo, revision: str, body: bytes) -> None:
        repo.tags[json.loads(body)["tag"]] = repo.resolve(revision)
        self.reply({})

    def set_secret(self, repo: Repo, body: bytes) -> None:
        request = json.loads(body)
        repo.secrets[request["key"]] = request["value"]
        self.reply({})

    def set_hardware(self, repo: Repo, body: bytes) -> None:
        repo.hardware = json.loads(body)["flavor"]
        self.reply({"stage": "BUILDING", "hardware": {"current": None, "requested": repo.hardware}})

    # Read

    def describe(self, repo: Repo, body: bytes, revision: str = "main") -> None:
        sha = repo.resolve(revision)
        siblings = [{"rfilename": path} for path in repo.commits[sha]]
        access = {"private": repo.private, "gated": "manual" if repo.gated else False}
        self.reply({"id": repo.name.removeprefix("spaces/"), "sha": sha, "tags": [], "siblings": siblings, **access})

    def check_right_to_write(self, repo: Repo, body: bytes) -> None:
        if self.token() != OWNER:
            raise RefusalError(403, message="you don't have the right to write")
        self.reply({})

    def list_refs(self, repo: Repo, body: bytes) -> None:
        branches = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": sha} for n, sha in repo.refs.items()]
        tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": sha} for n, sha in repo.tags.items()]
        self.reply({"branches": branches, "converts": [], "tags": tags})

    def send_file(self, repo: Repo, revision: str, path: str, body: bytes) -> None:
        sha = repo.resolve(revision)
        if path not in repo.commits[sha]:
            raise RefusalError(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": sha})
        content = repo.commits[sha][path]
        name = f'"{digest(path, content)}"'
        headers = {"X-Repo-Commit": sha, "ETag": name}
        if path.endswith(LARGE):
            headers |= {"X-Linked-Etag": name, "X-Linked-Size": str(len(content))}
        if path in repo.damage and self.command == "GET":
            content = repo.damage[path](content)
        self.reply(content=content, **headers)

"""The words and the Go program that travel with an exported bundle: how to check it without this software.

tests/outside runs each command of the page, and compiles the program with the Go modules that it names.
"""

from typing import Final

GO_MODULE: Final = "golang.org/x/mod v0.43.0"

GO_PROGRAM: Final = """// Command check verifies a bundle of audit events with Go's own transparency-log packages.
//
//	go run . BUNDLE VKEY
package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	bundle, vkey := os.Args[1], os.Args[2]
	verifier, err := note.NewVerifier(vkey)
	check(err)
	raw := read(bundle, "checkpoint")
	signed, err := note.Open(raw, note.VerifierList(verifier))
	check(err)
	head := strings.Split(signed.Text, "\\n") // origin, size, root
	if head[0] != verifier.Name() {
		check(fmt.Errorf("the checkpoint is of another log: %s", head[0]))
	}
	size, err := strconv.ParseInt(head[1], 10, 64)
	check(err)
	root, err := tlog.ParseHash(head[2])
	check(err)

	lines := bytes.Split(read(bundle, "events.jsonl"), []byte("\\n"))
	if len(lines[len(lines)-1]) != 0 {
		check(fmt.Errorf("events.jsonl is torn"))
	}
	files, err := filepath.Glob(filepath.Join(bundle, "proofs", "*.tlog-proof"))
	check(err)
	if len(files) != len(lines)-1 {
		check(fmt.Errorf("%d events, %d proofs", len(lines)-1, len(files)))
	}
	for i, file := range files { // both in the order of seq
		index, path := proof(read("", file), raw)
		check(tlog.CheckRecord(path, size, root, index, tlog.RecordHash(lines[i])))
		if !bytes.HasPrefix(lines[i], []byte(fmt.Sprintf("{\\"seq\\":%d,", index))) {
			check(fmt.Errorf("%s is not of its line", file))
		}
	}
	fmt.Printf("%d events are in the log of %d events that %s signed\\n", len(files), size, verifier.Name())
}

// proof reads a c2sp.org/tlog-proof that has to end in the checkpoint of the bundle.
func proof(raw, checkpoint []byte) (index int64, path tlog.RecordProof) {
	head, rest, _ := strings.Cut(string(raw), "\\n\\n")
	lines := strings.Split(head, "\\n")
	if len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" || rest != string(checkpoint) {
		check(fmt.Errorf("not a proof under this checkpoint"))
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	check(err)
	for _, line := range lines[2:] {
		node, err := base64.StdEncoding.DecodeString(line)
		check(err)
		path = append(path, tlog.Hash(node))
	}
	return index, path
}

func read(parts ...string) []byte {
	content, err := os.ReadFile(filepath.Join(parts...))
	check(err)
	return content
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "not verified:", err)
		os.Exit(1)
	}
}
"""

_PAGE: Final = """# Events of an audit log, with their proofs

{count} events of the log `{origin}`, and for each the proof that it is one of the {size} that were signed. Nothing else
is needed to check them, least of all the system that wrote them.

## What to have from elsewhere

The log's verifier key. In this folder it is

    {vkey}

and whoever could forge the rest could forge that as well: **compare it with the one that you were given on another
way**. `verifier-key.pem` is the same key as openssl reads it. Where the log has changed its key since, `rotations/`
leads from the one to the other: each note is signed by both.

## What is here

| file | content |
|---|---|
| `events.jsonl` | the lines of the log, byte for byte |
| `proofs/SEQ.tlog-proof` | of each event, a C2SP tlog-proof: its place, the hashes up to the root, the checkpoint |
| `checkpoint` | the log's signed checkpoint (C2SP), with the cosignatures of witnesses where there are any |
| `checkpoint.body`, `checkpoint.sig` | the text that is signed, and the 64 bytes of the key's signature, for openssl |
| `verifier-key`, `verifier-key.pem` | the key |
| `rotations/SEQ.note` | the changes of the key |
| `manifest.json` | what was asked for; not signed |
| `check.go` | the program below |

Where the manifest says `complete`, the events are all of `first` to `end - 1`, and their numbers (`seq`) without a gap
prove it. Where it does not, each event is proven, and that the filter left out no other is not.

## To check it

With the gateway's verifier, everything at once:

```sh
missiongate audit verify . --key '{vkey}'
```

The signature, with openssl 3, and that it is over the checkpoint's first three lines:

```sh
openssl pkeyutl -verify -pubin -inkey verifier-key.pem -rawin -in checkpoint.body -sigfile checkpoint.sig
head -n 3 checkpoint | cmp - checkpoint.body
```

That an event's own `hash` is that of its content (prints it twice):

```sh
head -n 1 events.jsonl | sed 's/,"hash":"[0-9a-f]*"}}$/}}/' | tr -d '\\n' | sha256sum
head -n 1 events.jsonl | sed 's/.*,"hash":"\\([0-9a-f]*\\)"}}$/\\1/'
```

Every proof, with the packages that Go uses for its own checksum database (`check.go`):

```sh
mkdir check && cp check.go check/main.go && cd check
go mod init check && go mod edit -require {module} && go mod tidy
go run . .. '{vkey}'
```
"""


def readme(vkey: str, count: int, size: int) -> str:
    """Return the page for a bundle of `count` events under a checkpoint of `size`."""
    origin = vkey.partition("+")[0]
    module = GO_MODULE.replace(" ", "@")
    return _PAGE.format(vkey=vkey, count=count, size=size, origin=origin, module=module)

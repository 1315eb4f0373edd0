// Command logcheck verifies what the audit log publishes with the packages that other transparency logs use, and
// nothing of the gateway: golang.org/x/mod/sumdb and github.com/transparency-dev, each question put to both.
//
//	logcheck checkpoint CHECKPOINT VKEY [WITNESS_VKEY...]
//	logcheck proof PROOF EVENT VKEY
//	logcheck consistency OLD NEW PATH VKEY
//
// PATH has a hash in base64 on each line. It exits with 1 where anything does not verify.
package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/transparency-dev/formats/log"
	witness "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	merkle "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	args := os.Args[2:]
	switch os.Args[1] {
	case "checkpoint":
		head := open(read(args[0]), args[1], args[2:]...)
		fmt.Println(head.Size)
	case "proof":
		included(read(args[0]), bytes.TrimSuffix(read(args[1]), []byte("\n")), args[2])
	case "consistency":
		consistent(read(args[0]), read(args[1]), read(args[2]), args[3])
	default:
		check(fmt.Errorf("no such command: %s", os.Args[1]))
	}
}

// open verifies a checkpoint, twice, and that every one of the witnesses has cosigned it.
func open(raw []byte, vkey string, witnesses ...string) log.Checkpoint {
	verifier, err := note.NewVerifier(vkey)
	check(err)
	var others []note.Verifier
	for _, other := range witnesses {
		cosigner, err := witness.NewVerifierForCosignatureV1(other)
		check(err)
		others = append(others, cosigner)
	}
	parsed, rest, signed, err := log.ParseCheckpoint(raw, verifier.Name(), verifier, others...)
	check(err)
	if len(rest) != 0 || len(signed.Sigs) != 1+len(witnesses) {
		check(fmt.Errorf("%d signatures verify, %d bytes are left over", len(signed.Sigs), len(rest)))
	}
	opened, err := note.Open(raw, note.VerifierList(verifier))
	check(err)
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + strings.SplitN(opened.Text, "\n", 2)[1]))
	check(err)
	if uint64(tree.N) != parsed.Size || !bytes.Equal(tree.Hash[:], parsed.Hash) {
		check(fmt.Errorf("the readers disagree"))
	}
	return *parsed
}

func included(raw, line []byte, vkey string) {
	var told proof.TLogProof
	check(told.Unmarshal(raw))
	if !bytes.Equal(told.Marshal(), raw) {
		check(fmt.Errorf("the proof is spelled in another way"))
	}
	head := open(told.Checkpoint, vkey)
	var path [][]byte
	var record tlog.RecordProof
	for _, node := range told.Hashes {
		path, record = append(path, node[:]), append(record, tlog.Hash(node))
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(line)
	check(merkle.VerifyInclusion(rfc6962.DefaultHasher, told.Index, head.Size, leaf, path, head.Hash))
	root, index := tlog.Hash(head.Hash), int64(told.Index)
	check(tlog.CheckRecord(record, int64(head.Size), root, index, tlog.RecordHash(line)))
	fmt.Println(told.Index)
}

func consistent(oldNote, newNote, hashes []byte, vkey string) {
	before, after := open(oldNote, vkey), open(newNote, vkey)
	var path [][]byte
	var tree tlog.TreeProof
	for _, line := range strings.Fields(string(hashes)) {
		node, err := base64.StdEncoding.DecodeString(line)
		check(err)
		path, tree = append(path, node), append(tree, tlog.Hash(node))
	}
	check(merkle.VerifyConsistency(rfc6962.DefaultHasher, before.Size, after.Size, path, before.Hash, after.Hash))
	if before.Size > 0 { // tlog knows no proof from the empty tree
		first, second := tlog.Hash(before.Hash), tlog.Hash(after.Hash)
		check(tlog.CheckTree(tree, int64(after.Size), second, int64(before.Size), first))
	}
	fmt.Println(before.Size, after.Size)
}

func read(path string) []byte {
	content, err := os.ReadFile(path)
	check(err)
	return content
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "not verified:", err)
		os.Exit(1)
	}
}

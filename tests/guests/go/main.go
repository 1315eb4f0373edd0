// A hook in Go: a reactor with the whole of Go's runtime, its collector and its maps in it.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"time"
	"unsafe"
)

var input, answer []byte

//go:wasmexport mission_abi_v1
func marker() {}

//go:wasmexport mission_alloc
func alloc(size int32) int32 {
	input = make([]byte, max(size, 1))
	return int32(uintptr(unsafe.Pointer(&input[0])))
}

//go:wasmexport mission_run
func run(_, size int32) int64 {
	first := time.Now().UnixNano()
	chance := make([]byte, 8)
	_, chanceErr := rand.Read(chance)
	_, fileErr := os.ReadFile("/etc/passwd")
	fmt.Fprintln(os.Stderr, size, "bytes of input")
	order := map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7, "h": 8}
	keys := ""
	for key := range order { // in an order that Go's runtime draws at random
		keys += key
	}
	answer, _ = json.Marshal(map[string]any{"output": map[string]any{
		"first_ns": first, "chance": hex.EncodeToString(chance), "chance_ok": chanceErr == nil,
		"file": fileErr == nil, "keys": keys,
	}})
	return int64(uintptr(unsafe.Pointer(&answer[0])))<<32 | int64(len(answer))
}

func main() {}

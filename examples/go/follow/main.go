// A program that follows a collection and prints each change, until Ctrl-C:
//
//	TIDEWIRE_TOKEN=… go run ./follow http://127.0.0.1:8480 orders '{"status": "open"}'
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/signal"

	tidewire "tidewire.example/client"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: follow URL COLLECTION [FILTER]")
	}
	request := tidewire.Request{Collection: os.Args[2]}
	if len(os.Args) > 3 {
		request.Filter = json.RawMessage(os.Args[3])
	}
	options := tidewire.Options{URL: os.Args[1], OnChange: print, OnStatus: func(status tidewire.Status) { log.Print(status) }}
	if token := os.Getenv("TIDEWIRE_TOKEN"); token != "" {
		// Your program asks your backend here: the client calls this again when the token expires.
		options.Token = func(context.Context) (string, error) { return token, nil }
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := tidewire.New(options, request).Run(ctx); ctx.Err() == nil {
		log.Fatal(err)
	}
}

func print(change tidewire.Change) {
	switch change.Type {
	case "snapshot":
		for _, document := range change.Documents {
			fmt.Printf("snapshot %s\n", document)
		}
	case "removed":
		fmt.Printf("removed %s\n", change.ID)
	default:
		fmt.Printf("%s %s\n", change.Type, change.Document)
	}
}

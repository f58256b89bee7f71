// Follows a collection over gRPC, prints each change as one JSON line, and continues where it stopped.
//
//	go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.35.2 google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.5.1
//	protoc -I ../../../proto --go_out=. --go_opt=module=tidewire.example/follow \
//	  --go_opt=Mtidewire/v1/live_queries.proto=tidewire.example/follow/tidewirev1 \
//	  --go-grpc_out=. --go-grpc_opt=module=tidewire.example/follow \
//	  --go-grpc_opt=Mtidewire/v1/live_queries.proto=tidewire.example/follow/tidewirev1 tidewire/v1/live_queries.proto
//	TIDEWIRE_TOKEN=… go run . 127.0.0.1:8482 orders '{"status": "open"}'
//
// The file of STATE (follow.state.json) holds the cursor and the ticket. A program that keeps its result in a database
// saves both in the same transaction.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "tidewire.example/follow/tidewirev1"
)

// state is where the next call continues.
type state struct {
	Cursor string `json:"cursor"`
	Ticket string `json:"ticket"`
}

func stateFile() string {
	if file := os.Getenv("STATE"); file != "" {
		return file
	}
	return "follow.state.json"
}

func readState() (at state, err error) {
	text, err := os.ReadFile(stateFile())
	if os.IsNotExist(err) {
		return at, nil
	}
	if err != nil {
		return at, err
	}
	return at, json.Unmarshal(text, &at)
}

// save replaces the file at once, so that a kill leaves either the old state or the new one.
func (at state) save() error {
	text, err := json.Marshal(at)
	if err != nil {
		return err
	}
	if err := os.WriteFile(stateFile()+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(stateFile()+".new", stateFile())
}

func show(line map[string]any) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err) // the lines hold strings and JSON of the service alone
	}
	fmt.Println(string(text))
}

// take prints a message, and takes its cursor and its ticket.
func (at *state) take(response *pb.FollowResponse) {
	switch message := response.Message.(type) {
	case *pb.FollowResponse_Subscribed:
		start := message.Subscribed.Start
		show(map[string]any{"type": "subscribed", "start": start.String()})
		if start != pb.Start_START_RESUMED && start != pb.Start_START_MOVED {
			at.Cursor = ""
		}
		at.Ticket = message.Subscribed.Ticket
		at.continueAfter(message.Subscribed.Cursor)
	case *pb.FollowResponse_Snapshot:
		for _, document := range message.Snapshot.Documents {
			show(map[string]any{"type": "has", "document": json.RawMessage(document)})
		}
		at.continueAfter(message.Snapshot.Cursor)
	case *pb.FollowResponse_Added:
		show(map[string]any{"type": "added", "document": json.RawMessage(message.Added.Document)})
		at.continueAfter(message.Added.Cursor)
	case *pb.FollowResponse_Changed:
		show(map[string]any{"type": "changed", "document": json.RawMessage(message.Changed.GetDocument())})
		at.continueAfter(message.Changed.Cursor)
	case *pb.FollowResponse_Removed:
		show(map[string]any{"type": "removed", "id": json.RawMessage(message.Removed.Id)})
		at.continueAfter(message.Removed.Cursor)
	case *pb.FollowResponse_Watermark:
		at.continueAfter(message.Watermark.Cursor)
	case *pb.FollowResponse_Ticket:
		at.Ticket = message.Ticket.Ticket
	case *pb.FollowResponse_Reset_:
		show(map[string]any{"type": "reset"})
		*at = state{Ticket: message.Reset_.Ticket}
	}
}

func (at *state) continueAfter(cursor string) {
	if cursor != "" {
		at.Cursor = cursor
	}
}

// follow follows until the stream ends. The status says why.
func follow(client pb.LiveQueriesClient, collection, filter string) error {
	at, err := readState()
	if err != nil {
		return err
	}
	// A real program would fetch a fresh token from its login service here.
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+os.Getenv("TIDEWIRE_TOKEN"))
	request := &pb.FollowRequest{Collection: collection, Filter: filter, Values: pb.Values_VALUES_EJSON}
	if at.Cursor != "" {
		request.Cursor, request.Ticket = at.Cursor, at.Ticket
	}
	stream, err := client.Follow(ctx, request)
	if err != nil {
		return err
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		at.take(response)
		if err := at.save(); err != nil {
			return err
		}
	}
}

// detailOf returns the error of the protocol in the details of a status.
func detailOf(err error) *pb.ErrorDetail {
	for _, detail := range status.Convert(err).Details() {
		if detail, ok := detail.(*pb.ErrorDetail); ok {
			return detail
		}
	}
	return &pb.ErrorDetail{}
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: follow ADDRESS COLLECTION [FILTER]")
		os.Exit(2)
	}
	filter := ""
	if len(os.Args) > 3 {
		filter = os.Args[3]
	}
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	defer connection.Close()
	client := pb.NewLiveQueriesClient(connection)
	for delay := 250 * time.Millisecond; ; {
		began := time.Now()
		err := follow(client, os.Args[2], filter)
		detail := detailOf(err)
		show(map[string]any{"type": "status", "status": status.Code(err).String(), "code": detail.Code})
		if detail.Retry == "never" || detail.Retry == "token" {
			fmt.Fprintln(os.Stderr, "refused:", err)
			os.Exit(1)
		}
		if time.Since(began) > 5*time.Second {
			delay = 250 * time.Millisecond
		}
		time.Sleep(time.Duration(rand.Int63n(int64(delay))))
		delay = min(delay*2, 30*time.Second)
	}
}

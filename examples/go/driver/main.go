// The driver of the protocol kit for the Go client: commands arrive as JSON lines on the standard input, and answers
// leave as JSON lines on the standard output (docs/protocol-kit/README.md).
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log"
	"os"
	"sync"

	tidewire "tidewire.example/client"
)

// lineBytesMax bounds a command.
const lineBytesMax = 64 << 20

type command struct {
	N      int             `json:"n"`
	Follow *follow         `json:"follow"`
	Ask    int             `json:"ask"`
	Fence  json.RawMessage `json:"fence"`
	Token  string          `json:"token"`
	Leave  bool            `json:"leave"`
}

type follow struct {
	URL     string           `json:"url"`
	Token   *string          `json:"token"`
	Values  string           `json:"values"`
	Request tidewire.Request `json:"request"`
}

type line map[string]any

// client is a client of the kit and what it waits for.
type client struct {
	*tidewire.Client
	leave  context.CancelFunc
	tokens chan string
}

var output sync.Mutex

func print(n int, fields line) {
	fields["n"] = n
	text, err := json.Marshal(fields)
	if err != nil {
		log.Fatal(err)
	}
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(text, '\n'))
}

func start(n int, f *follow) *client {
	ctx, leave := context.WithCancel(context.Background())
	c := &client{leave: leave, tokens: make(chan string, 1)}
	options := tidewire.Options{
		URL:      f.URL,
		Values:   f.Values,
		OnChange: func(change tidewire.Change) { print(n, line{"change": changeLine(change)}) },
		OnStatus: func(status tidewire.Status) { print(n, line{"status": status}) },
		Trace:    func(message json.RawMessage) { print(n, line{"message": message}) },
	}
	if f.Token != nil {
		c.tokens <- *f.Token
		isFirst := true
		options.Token = func(ctx context.Context) (string, error) {
			if !isFirst {
				print(n, line{"wants": "token"})
			}
			isFirst = false
			select {
			case token := <-c.tokens:
				return token, nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
	}
	c.Client = tidewire.New(options, f.Request)
	go func() {
		err := c.Run(ctx)
		if refusal := (*tidewire.Error)(nil); errors.As(err, &refusal) {
			stopped := line{"code": refusal.Code, "message": refusal.Message}
			print(n, line{"stopped": stopped, "documents": c.Documents()})
		}
	}()
	return c
}

func changeLine(change tidewire.Change) line {
	switch change.Type {
	case "snapshot":
		return line{"type": change.Type, "docs": append([]json.RawMessage{}, change.Documents...)}
	case "removed":
		return line{"type": change.Type, "_id": change.ID}
	}
	return line{"type": change.Type, "doc": change.Document}
}

func (c *client) fence(n, ask int, operationTime json.RawMessage) {
	if err := c.Fence(context.Background(), operationTime); err != nil {
		print(n, line{"answer": ask, "failure": err.Error()})
		return
	}
	print(n, line{"answer": ask, "documents": c.Documents()})
}

func main() {
	clients := map[int]*client{}
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, lineBytesMax)
	for input.Scan() {
		var next command
		if err := json.Unmarshal(input.Bytes(), &next); err != nil {
			log.Fatal(err)
		}
		c := clients[next.N]
		switch {
		case next.Follow != nil:
			clients[next.N] = start(next.N, next.Follow)
		case next.Leave:
			c.leave()
		case next.Fence != nil:
			go c.fence(next.N, next.Ask, next.Fence)
		case next.Token != "":
			c.tokens <- next.Token
		}
	}
}

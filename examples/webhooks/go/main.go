// Receives the webhooks of a sink: verifies each request, stores each event once, answers, and processes it afterwards.
//
//	WEBHOOK_SECRET=whsec_… PORT=8090 INBOX=inbox.jsonl go run .
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// The largest document of MongoDB has 16 MiB, and is longer as JSON.
const maxBytes = 64 << 20

// An event is a CloudEvent. Data has the change, as the protocol writes it.
type event struct {
	ID      string          `json:"id"`
	Type    string          `json:"type"`
	Subject string          `json:"subject"`
	Data    json.RawMessage `json:"data"`
}

// An inbox holds every event that was accepted. In production this is a table of your database, with a unique index on
// the id: the event and its id are then stored in one transaction, and old ids can be deleted.
type inbox struct {
	mutex sync.Mutex
	file  *os.File
	known map[string]bool
}

func openInbox(path string) (*inbox, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxBytes)
	for lines.Scan() {
		var stored event
		// A line that a crash has cut off was never answered, so the service sends it again.
		if json.Unmarshal(lines.Bytes(), &stored) == nil {
			known[stored.ID] = true
		}
	}
	return &inbox{file: file, known: known}, lines.Err()
}

// store stores the events that are new and returns them. They survive a crash once it has returned.
func (box *inbox) store(events []event) ([]event, error) {
	box.mutex.Lock()
	defer box.mutex.Unlock()
	var fresh []event
	var lines bytes.Buffer
	for _, one := range events {
		if box.known[one.ID] {
			continue
		}
		line, err := json.Marshal(one)
		if err != nil {
			return nil, err
		}
		fresh = append(fresh, one)
		lines.WriteByte('\n')
		lines.Write(line)
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	if _, err := box.file.Write(lines.Bytes()); err != nil {
		return nil, err
	}
	if err := box.file.Sync(); err != nil {
		return nil, err
	}
	for _, one := range fresh {
		box.known[one.ID] = true
	}
	return fresh, nil
}

// parse reads one event, or the list that a sink with batch sends.
func parse(body []byte) ([]event, error) {
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
		var events []event
		err := json.Unmarshal(body, &events)
		return events, err
	}
	var one event
	err := json.Unmarshal(body, &one)
	return []event{one}, err
}

// process is your own work. It runs after the answer, so the service does not wait for it.
func process(events <-chan event) {
	for one := range events {
		show(map[string]any{"type": "processed", "id": one.ID, "event": one.Type, "subject": one.Subject})
	}
}

func show(line map[string]any) {
	text, _ := json.Marshal(line)
	fmt.Println(string(text))
}

type receiver struct {
	webhook *standardwebhooks.Webhook
	box     *inbox
	waiting chan<- event
}

func (r receiver) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	response.WriteHeader(r.receive(response, request))
}

// receive returns the status of the answer.
func (r receiver) receive(response http.ResponseWriter, request *http.Request) int {
	if request.Method != http.MethodPost {
		return http.StatusMethodNotAllowed
	}
	body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, maxBytes))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return http.StatusRequestEntityTooLarge
		}
		return http.StatusBadRequest
	}
	// Fails if the signature is wrong or the request is older than five minutes.
	if err := r.webhook.Verify(body, request.Header); err != nil {
		return http.StatusUnauthorized
	}
	events, err := parse(body)
	if err != nil {
		return http.StatusBadRequest
	}
	fresh, err := r.box.store(events)
	if err != nil {
		log.Print(err)
		// The service sends the event again.
		return http.StatusServiceUnavailable
	}
	for _, one := range fresh {
		r.waiting <- one
	}
	return http.StatusNoContent
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func main() {
	webhook, err := standardwebhooks.NewWebhook(os.Getenv("WEBHOOK_SECRET"))
	if err != nil {
		log.Fatal("WEBHOOK_SECRET: ", err)
	}
	box, err := openInbox(setting("INBOX", "inbox.jsonl"))
	if err != nil {
		log.Fatal(err)
	}
	waiting := make(chan event, 10_000)
	go process(waiting)
	listener, err := net.Listen("tcp", "127.0.0.1:"+setting("PORT", "8090"))
	if err != nil {
		log.Fatal(err)
	}
	show(map[string]any{"type": "listening", "port": listener.Addr().(*net.TCPAddr).Port})
	server := http.Server{
		Handler:           receiver{webhook, box, waiting},
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
	}
	log.Fatal(server.Serve(listener))
}

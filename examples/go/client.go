// Package tidewire is a small client of Tidewire's wire protocol, version 1 (docs/protocol.md), over a WebSocket. It
// follows one query, keeps its result, and resumes after the connection has broken. Whole documents only: it does not
// request "documents": "delta".
//
// Numbers in brackets are the steps of docs/building-a-client.md. client.go holds the connection, result.go the
// documents, reconnect.go the decision after the end of a connection.
package tidewire

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	subscriptionID = "1"
	// A document may have 16 MiB, and a message holds several.
	messageBytesMax = 64 << 20
	// How long a connection may take until its welcome, and how long it may be silent after its heartbeat (7).
	welcomeTimeout, silenceMargin = 15 * time.Second, 10 * time.Second
	// The share of a draining node's time within which the client leaves it (9).
	leaveShare = 0.8
)

// Options of a client. Only URL is required. Run's goroutine makes the calls of OnChange, OnStatus and Trace; while one
// lasts, the client reads nothing, and the service holds changes back.
type Options struct {
	// URL of the service, such as https://live.example.com.
	URL string
	// Token returns a JWT. The client calls it when it has none, when the token is about to expire, and when the
	// service refuses it. Without Token the user is anonymous.
	Token func(context.Context) (string, error)
	// Values is the form of the values in documents: "json" (the default) or "ejson".
	Values string
	// AttemptsPerMinute bounds the connections that the client opens within a minute. The default is 12.
	AttemptsPerMinute int
	OnChange          func(Change)
	OnStatus          func(Status)
	// Trace receives each message of the service as it arrived.
	Trace func(json.RawMessage)
}

// Request names a query. The fields are those of subscribe in docs/protocol.md; only Collection is required.
type Request struct {
	Collection string   `json:"collection"`
	Filter     any      `json:"filter,omitempty"`
	Fields     []string `json:"fields,omitempty"`
	Sort       [][2]any `json:"sort,omitempty"` // {path, 1 or -1}
	Limit      int      `json:"limit,omitempty"`
	Snapshot   *bool    `json:"snapshot,omitempty"` // false: only changes
	Aggregate  any      `json:"aggregate,omitempty"`
	// Cursor and Ticket resume from a position that an earlier program has stored.
	Cursor string `json:"cursor,omitempty"`
	Ticket string `json:"ticket,omitempty"`
}

// Status of a query.
type Status string

const (
	Connecting Status = "connecting"  // not answered yet
	CatchingUp Status = "catching-up" // the answer arrived, and missing changes or the snapshot follow
	Live       Status = "live"        // the result is current
	Offline    Status = "offline"     // disconnected; the documents are the last ones
	Stopped    Status = "stopped"     // ended for good; Run returns the reason
)

// Error is a refusal of the service or the reason why the client has stopped. Code is one of docs/errors.md, the reason
// of unsubscribed, or "closed" if the connection ended without an error.
type Error struct {
	Code, Message, Retry string
	RetryAfterMs         int64
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// message is any message of the service. Unknown types and fields are ignored: the protocol may grow.
type message struct {
	Type, ID, Start, Cursor, Ticket, Reason, Cause string
	Docs                                           []json.RawMessage
	Doc, Before                                    json.RawMessage
	DocID                                          json.RawMessage `json:"_id"`
	Last                                           bool
	Heartbeat, WithinMs                            int64
	Reconnect                                      advice
	Tickets                                        map[string]string
	Code, Message, Retry                           string // of an error
	RetryAfterMs                                   int64
}

type fence struct {
	operationTime any
	done          chan error
}

// Client follows one query.
type Client struct {
	options   Options
	request   Request
	reconnect reconnect // only Run's goroutine uses it

	mu     sync.Mutex      // guards the rest
	socket *websocket.Conn // nil while no connection has answered subscribe
	result *result
	token  string
	ticket string
	status Status
	fences map[string]*fence
	nextID int
}

// New returns a client that connects when Run is called.
func New(options Options, request Request) *Client {
	if options.AttemptsPerMinute == 0 {
		options.AttemptsPerMinute = 12
	}
	held := newResult(request.Snapshot == nil || *request.Snapshot, request.Cursor)
	return &Client{options: options, request: request, reconnect: newReconnect(options.AttemptsPerMinute),
		result: held, ticket: request.Ticket, fences: map[string]*fence{}}
}

// Documents returns the result, in the order of the sort.
func (c *Client) Documents() []json.RawMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.result.documents()
}

// Fence returns when the result shows the writes up to operationTime: the time of a write in Extended JSON, as the backend
// received it from the driver of MongoDB.
func (c *Client) Fence(ctx context.Context, operationTime any) error {
	c.mu.Lock()
	c.nextID++
	id, waiting := "fence "+strconv.Itoa(c.nextID), &fence{operationTime, make(chan error, 1)}
	c.fences[id] = waiting
	socket := c.socket
	c.mu.Unlock()
	if socket != nil {
		send(ctx, socket, waiting.request(id))
	}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.fences, id)
	}()
	select {
	case err := <-waiting.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fence) request(id string) any {
	return map[string]any{"type": "fence", "id": id, "operationTime": f.operationTime}
}

// Run connects, and connects again after each end of a connection. It returns when ctx is done, or with an *Error if
// another attempt cannot succeed.
func (c *Client) Run(ctx context.Context) error {
	for {
		ended := c.connect(ctx)
		wait, stop := c.reconnect.ended(ended)
		if ended.refusal != nil && ended.refusal.Code == "forbidden" {
			c.mu.Lock()
			c.result = newResult(c.result.isWhole, "") // the user may no longer see the documents (11)
			c.mu.Unlock()
		}
		if err := ctx.Err(); err != nil || stop != nil {
			c.setStatus(Stopped)
			if err == nil {
				err = stop
			}
			return err
		}
		c.setStatus(Offline)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// connect opens a connection, and serves it until its end.
func (c *Client) connect(ctx context.Context) end {
	c.reconnect.attempted(time.Now())
	c.setStatus(Connecting)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dialing, dialed := context.WithTimeout(ctx, welcomeTimeout)
	defer dialed()
	c.mu.Lock()
	token := c.token
	c.mu.Unlock()
	if (token == "" || c.reconnect.needsToken) && c.options.Token != nil {
		var err error
		if token, err = c.options.Token(dialing); err != nil {
			return end{code: 1006}
		}
	}
	url := strings.TrimSuffix(strings.Replace(c.options.URL, "http", "ws", 1), "/") + "/v1/ws"
	socket, response, err := websocket.Dial(dialing, url, &websocket.DialOptions{Subprotocols: []string{"tidewire.v1"}})
	if err != nil && response != nil {
		return end{code: 1006, status: response.StatusCode}
	} else if err != nil {
		return end{code: 1006}
	}
	defer socket.CloseNow()
	socket.SetReadLimit(messageBytesMax)
	c.begin(ctx, socket, token)
	ended := c.serve(ctx, socket)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.socket = nil
	return ended
}

// begin sends hello and, without waiting for welcome, the requests (1).
func (c *Client) begin(ctx context.Context, socket *websocket.Conn, token string) {
	hello := map[string]any{"type": "hello", "client": "tidewire-go-example/1"}
	if token != "" {
		hello["token"] = token
	}
	if c.options.Values != "" {
		hello["values"] = c.options.Values
	}
	send(ctx, socket, hello)
	c.mu.Lock()
	c.token = token
	c.mu.Unlock()
	if !c.reconnect.isLate {
		c.ask(ctx, socket)
	}
}

// ask sends subscribe and the unanswered fences (2).
func (c *Client) ask(ctx context.Context, socket *websocket.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	send(ctx, socket, c.subscribe())
	for id, waiting := range c.fences {
		send(ctx, socket, waiting.request(id))
	}
	c.socket = socket
}

// subscribe returns the request, with the position from which it resumes (5).
func (c *Client) subscribe() any {
	request := c.request
	request.Cursor, request.Ticket = "", ""
	if c.result.cursor != "" {
		request.Cursor, request.Ticket = c.result.cursor, c.ticket
	}
	return struct {
		Type string `json:"type"`
		ID   string `json:"id"`
		Request
	}{"subscribe", subscriptionID, request}
}

// serve reads until the connection ends, or has been silent for too long (7).
func (c *Client) serve(ctx context.Context, socket *websocket.Conn) end {
	ended, silence := end{}, welcomeTimeout
	for {
		reading, read := context.WithTimeout(ctx, silence)
		_, data, err := socket.Read(reading)
		read()
		if err != nil {
			if ended.code = int(websocket.CloseStatus(err)); ended.code == -1 {
				ended.code = 1006
			}
			return ended
		}
		var m message
		if json.Unmarshal(data, &m) != nil {
			ended.code = 1007
			return ended
		}
		if c.options.Trace != nil {
			c.options.Trace(data)
		}
		switch m.Type {
		case "welcome":
			ended.isWelcomed, silence = true, time.Duration(m.Heartbeat)*time.Millisecond+silenceMargin
			c.reconnect.welcomed(m, time.Now())
			if c.reconnect.isLate {
				c.ask(ctx, socket)
			}
		case "expiring":
			go c.refresh(ctx, socket)
		case "draining":
			c.reconnect.waitFor(m.WithinMs)
			wait := time.Duration(rand.Float64()*leaveShare*float64(m.WithinMs)) * time.Millisecond
			time.AfterFunc(wait, func() { socket.Close(leaving, "") })
		case "error":
			c.refused(ctx, socket, m, &ended)
		case "unsubscribed": // (11)
			code := m.Reason
			if code != "collection-dropped" && code != "config" {
				code = "forbidden" // a reason that this client does not know may be a missing right
			}
			ended.refusal = &Error{Code: code, Message: "the service has ended the subscription", Retry: "never"}
		default:
			c.receive(m)
		}
		if ended.refusal != nil {
			return ended
		}
	}
}

// receive applies a message about the subscription, its documents, or a fence.
func (c *Client) receive(m message) {
	c.mu.Lock()
	var change *Change
	switch m.Type {
	case "subscribed":
		c.ticket = m.Ticket
		change = c.result.start(m)
	case "reset":
		c.ticket = m.Ticket
		change = c.result.restart("")
	case "tickets": // (8)
		if ticket, isOurs := m.Tickets[subscriptionID]; isOurs {
			c.ticket = ticket
		}
	case "fenced":
		if waiting := c.fences[m.ID]; waiting != nil {
			waiting.done <- nil
		}
	default:
		change = c.result.apply(m)
	}
	phase := c.result.phase
	c.mu.Unlock()
	if change != nil && c.options.OnChange != nil {
		c.options.OnChange(*change)
	}
	if phase != "" {
		c.setStatus(phase) // (10)
	}
}

// refused handles an error (12). Without an id it says why the connection ends next, or that a refresh has failed.
func (c *Client) refused(ctx context.Context, socket *websocket.Conn, m message, ended *end) {
	refusal := &Error{m.Code, m.Message, m.Retry, m.RetryAfterMs}
	wait := time.Duration(m.RetryAfterMs) * time.Millisecond
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := c.fences[m.ID]
	switch {
	case m.ID == "":
		c.reconnect.refused(refusal)
	case waiting != nil && m.Retry == "never":
		waiting.done <- refusal
	case waiting != nil:
		time.AfterFunc(wait+c.reconnect.backOff(), func() { send(ctx, socket, waiting.request(m.ID)) })
	case m.Retry == "never":
		ended.refusal = refusal
	case c.result.phase == "":
		again := c.subscribe()
		time.AfterFunc(wait+c.reconnect.backOff(), func() { send(ctx, socket, again) })
	}
}

// refresh brings another token before the present one expires (8). Without one, the connection ends at the expiry.
func (c *Client) refresh(ctx context.Context, socket *websocket.Conn) {
	if c.options.Token == nil {
		return
	}
	token, err := c.options.Token(ctx)
	if err != nil {
		return
	}
	c.mu.Lock()
	c.token = token
	c.mu.Unlock()
	send(ctx, socket, map[string]any{"type": "refresh", "token": token})
}

func (c *Client) setStatus(status Status) {
	if status == c.status {
		return
	}
	c.status = status
	if c.options.OnStatus != nil {
		c.options.OnStatus(status)
	}
}

// send sends a message. If that fails, the connection has ended, and the next read returns the reason.
func send(ctx context.Context, socket *websocket.Conn, message any) {
	text, err := json.Marshal(message)
	if err != nil {
		panic("a filter or an operation time has no JSON form: " + err.Error())
	}
	_ = socket.Write(ctx, websocket.MessageText, text)
}

package tidewire

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
)

// Change of a result. Applied in order, the changes give the result.
type Change struct {
	Type      string            // snapshot, added, changed or removed
	Documents []json.RawMessage // of a snapshot: the whole result
	Document  json.RawMessage   // of added and changed
	ID        json.RawMessage   // of removed
	Before    json.RawMessage   // of a sorted result: the _id of the next document, or null
	Cause     string
}

// result holds the documents of the query (3). The position of a document is found by a search, which suits results of
// some thousand documents.
type result struct {
	isWhole bool     // whether it begins with a snapshot
	order   []string // JSON of each _id
	byID    map[string]json.RawMessage
	cursor  string              // from which to resume; empty while a snapshot is arriving
	next    []json.RawMessage   // the snapshot that is arriving
	phase   Status              // empty until subscribed arrives
	tail    [][sha256.Size]byte // the changes that carried cursor
	repeat  [][sha256.Size]byte // the changes that a resumption may repeat (6)
}

func newResult(isWhole bool, cursor string) *result {
	return &result{isWhole: isWhole, byID: map[string]json.RawMessage{}, cursor: cursor}
}

func (r *result) documents() []json.RawMessage {
	documents := make([]json.RawMessage, len(r.order))
	for i, id := range r.order {
		documents[i] = r.byID[id]
	}
	return documents
}

// start takes the answer to subscribe (4). After moved, the documents continue as those of another live query.
func (r *result) start(m message) *Change {
	switch m.Start {
	case "snapshot", "live", "reset":
		return r.restart(m.Cursor)
	case "resumed":
		r.repeat, r.tail = r.tail, nil
	default:
		r.repeat, r.tail, r.cursor = nil, nil, m.Cursor
	}
	r.phase = CatchingUp
	return nil
}

// restart makes the documents void. A snapshot follows, or changes from cursor on.
func (r *result) restart(cursor string) *Change {
	r.order, r.byID, r.next, r.tail, r.repeat = nil, map[string]json.RawMessage{}, nil, nil, nil
	if r.isWhole {
		r.cursor, r.phase = "", CatchingUp
		return nil
	}
	r.cursor, r.phase = cursor, Live
	return &Change{Type: "snapshot"} // nothing is known of any document
}

// apply takes a message about documents. It returns the change for the application, or nil.
func (r *result) apply(m message) *Change {
	isChange := m.Type == "added" || m.Type == "changed" || m.Type == "removed"
	switch {
	case m.Type == "snapshot":
		if r.next = append(r.next, m.Docs...); !m.Last {
			return nil
		}
		for _, document := range r.next {
			r.put(document, nil)
		}
		r.next, r.cursor, r.phase = nil, m.Cursor, Live
		return &Change{Type: "snapshot", Documents: r.documents()}
	case m.Type == "watermark" && r.phase != "" && (r.cursor != "" || !r.isWhole):
		r.cursor, r.tail, r.repeat, r.phase = m.Cursor, nil, nil, Live
	case isChange && !r.isRepeat(m):
		r.cursor = m.Cursor
		if m.Type == "removed" {
			delete(r.byID, string(m.DocID))
			r.order = without(r.order, string(m.DocID))
		} else {
			r.put(m.Doc, m.Before)
		}
		return &Change{Type: m.Type, Document: m.Doc, ID: m.DocID, Before: m.Before, Cause: m.Cause}
	}
	return nil
}

// isRepeat compares a change with those that carried the cursor of the resumption, in their order, up to the first
// difference. It also remembers the change for the next resumption.
func (r *result) isRepeat(m message) bool {
	text, _ := json.Marshal([]any{m.Type, m.Cursor, m.Cause, m.Doc, m.DocID, m.Before}) // strings and JSON: cannot fail
	sum := sha256.Sum256(text)
	if m.Cursor != r.cursor {
		r.tail = nil
	}
	r.tail = append(r.tail, sum)
	if len(r.repeat) > 0 && r.repeat[0] == sum {
		r.repeat = r.repeat[1:]
		return true
	}
	r.repeat = nil
	return false
}

// put inserts or replaces a document, in a sorted result before another one.
func (r *result) put(document, before json.RawMessage) {
	var fields struct {
		ID json.RawMessage `json:"_id"`
	}
	_ = json.Unmarshal(document, &fields) // a document of a message that was decoded
	id := string(fields.ID)
	_, isHeld := r.byID[id]
	r.byID[id] = document
	if isHeld && before == nil {
		return
	}
	if isHeld {
		r.order = without(r.order, id)
	}
	at := -1
	if before != nil {
		at = slices.Index(r.order, string(before))
	}
	if at < 0 { // null: the end
		at = len(r.order)
	}
	r.order = slices.Insert(r.order, at, id)
}

func without(ids []string, id string) []string {
	return slices.DeleteFunc(ids, func(other string) bool { return other == id })
}

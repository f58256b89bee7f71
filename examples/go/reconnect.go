package tidewire

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	// How many tokens are tried without a welcome in between.
	tokensMax = 3
	// The client closes with it when it leaves a draining node.
	leaving = 1000
)

// advice is what welcome says about reconnection.
type advice struct {
	MinMs, MaxMs, Factor float64
	StableAfterMs        int64
}

// end says how a connection ended: by a refusal of the subscription, by a close code, or before the upgrade by an HTTP
// status.
type end struct {
	code, status int
	isWelcomed   bool
	refusal      *Error
}

// reconnect decides after the end of a connection (5).
type reconnect struct {
	perMinute        int
	advice           advice
	failures, tokens int
	needsToken       bool // the last connection ended because of its token
	isLate           bool // the service takes no requests before welcome
	attempts         []time.Time
	welcomedAt       time.Time
	notBefore        time.Time // as draining or retryAfterMs said
	reason           *Error    // the last error without an id
}

// newReconnect has the advice that holds until the first welcome.
func newReconnect(perMinute int) reconnect {
	return reconnect{perMinute: perMinute, advice: advice{MinMs: 250, MaxMs: 30_000, Factor: 2, StableAfterMs: 5_000}}
}

func (r *reconnect) attempted(now time.Time) {
	if r.attempts = append(r.attempts, now); len(r.attempts) > r.perMinute {
		r.attempts = r.attempts[1:]
	}
}

func (r *reconnect) welcomed(m message, now time.Time) {
	r.advice, r.welcomedAt, r.tokens, r.reason = m.Reconnect, now, 0, nil
}

func (r *reconnect) waitFor(ms int64) {
	r.notBefore = time.Now().Add(time.Duration(ms) * time.Millisecond)
}

func (r *reconnect) refused(refusal *Error) {
	r.reason = refusal
	if refusal.RetryAfterMs > 0 {
		r.waitFor(refusal.RetryAfterMs)
	}
}

// backOff returns the next random delay.
func (r *reconnect) backOff() time.Duration {
	ceiling := min(r.advice.MaxMs, r.advice.MinMs*math.Pow(r.advice.Factor, float64(r.failures)))
	r.failures++
	return time.Duration(rand.Float64() * ceiling * float64(time.Millisecond))
}

// ended returns how long to wait before the next connection, or why there is none.
func (r *reconnect) ended(ended end) (time.Duration, error) {
	if ended.isWelcomed && time.Since(r.welcomedAt) >= time.Duration(r.advice.StableAfterMs)*time.Millisecond {
		r.failures = 0
	}
	stop := &Error{Code: "closed", Message: fmt.Sprintf("the connection was closed with %d", ended.code), Retry: "never"}
	if r.reason != nil {
		stop = r.reason
	}
	r.needsToken = ended.code >= 4100 && ended.code < 4200
	wait := time.Duration(0)
	switch code := ended.code; {
	case ended.refusal != nil:
		return 0, ended.refusal
	case ended.status != 0 && ended.status < 500 && ended.status != http.StatusTooManyRequests:
		return 0, &Error{Code: "closed", Message: fmt.Sprintf("HTTP %d", ended.status), Retry: "never"}
	case code == 4400 && !ended.isWelcomed && !r.isLate:
		r.isLate = true
	case code >= 4400 && code < 4500, code == 1002, code == 1003, code >= 1007 && code <= 1011:
		return 0, stop
	case r.needsToken:
		if r.tokens++; r.tokens > tokensMax {
			return 0, stop
		}
	case code >= 4200 && code < 4300:
		wait = max(0, time.Until(r.notBefore))
	}
	wait += r.backOff()
	if len(r.attempts) == r.perMinute {
		wait = max(wait, time.Until(r.attempts[0].Add(time.Minute)))
	}
	return wait, nil
}

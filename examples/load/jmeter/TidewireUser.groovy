/** One virtual user: its connection, and the check of all changes that it receives. */
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import java.net.http.HttpClient
import java.net.http.WebSocket
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CompletionStage
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import javax.crypto.Mac
import javax.crypto.spec.SecretKeySpec

class TidewireUser implements WebSocket.Listener {
  /** Delivery times of all users, in milliseconds. */
  static final ConcurrentLinkedQueue<Long> deliveries = new ConcurrentLinkedQueue<>()
  static final AtomicInteger lost = new AtomicInteger()
  static final AtomicInteger repeated = new AtomicInteger()
  static final AtomicInteger ready = new AtomicInteger()
  private static final HttpClient CLIENT = HttpClient.newHttpClient()

  final String name
  private WebSocket socket
  private final StringBuilder text = new StringBuilder()
  /** The last write of each document that has arrived. */
  private final Map<Integer, Integer> last = [:]
  private final CompletableFuture<Void> welcome = new CompletableFuture<>()
  private final CompletableFuture<Void> firstResult = new CompletableFuture<>()
  private volatile String failure

  TidewireUser(String name) {
    this.name = name
  }

  static String setting(String name, String ordinary) {
    System.getenv(name) ?: ordinary
  }

  /** Connects, and waits until the service has accepted the token. */
  void connect() {
    def url = URI.create(setting('TIDEWIRE_URL', 'ws://127.0.0.1:8480') + '/v1/ws')
    socket = CLIENT.newWebSocketBuilder().subprotocols('tidewire.v1').buildAsync(url, this).get(10, TimeUnit.SECONDS)
    send(type: 'hello', token: token())
    welcome.get(10, TimeUnit.SECONDS)
  }

  /** Subscribes, and waits for the first result. */
  void subscribe() {
    send(type: 'subscribe', id: 'orders', collection: 'orders', filter: [customer: name])
    firstResult.get(10, TimeUnit.SECONDS)
    ready.incrementAndGet()
  }

  /** Receives changes for a while. */
  void follow(int seconds) {
    Thread.sleep(seconds * 1_000L)
    if (failure != null) throw new IllegalStateException(failure)
    socket.sendClose(WebSocket.NORMAL_CLOSURE, '')
  }

  @Override
  CompletionStage<?> onText(WebSocket webSocket, CharSequence data, boolean isLast) {
    text.append(data)
    if (isLast) {
      def message = new JsonSlurper().parseText(text.toString())
      text.setLength(0)
      received(message)
    }
    webSocket.request(1)
    return null
  }

  @Override
  CompletionStage<?> onClose(WebSocket webSocket, int code, String reason) {
    fail("the connection ended: $code $reason")
    return null
  }

  @Override
  void onError(WebSocket webSocket, Throwable error) {
    fail(error.toString())
  }

  private void received(Map message) {
    switch (message.type) {
      case 'welcome':
        welcome.complete(null)
        break
      case 'snapshot':
        message.docs.findAll { it.load }.each { last[it.load.doc] = it.load.n }
        if (message.last) firstResult.complete(null)
        break
      case 'added':
      case 'changed':
        if (message.doc.load) check(message.doc.load)
        break
      case 'error':
        fail("${message.code}: ${message.message}")
    }
  }

  /** Each write of a document must arrive once, in order. */
  private void check(Map load) {
    def before = last[load.doc]
    if (before != null && load.n <= before) {
      repeated.incrementAndGet()
      return
    }
    if (before != null) lost.addAndGet(load.n - before - 1)
    last[load.doc] = load.n
    deliveries.add(Math.max(0L, System.currentTimeMillis() - (load.at as long)))
  }

  private void fail(String reason) {
    failure = failure ?: reason
    [welcome, firstResult].each { it.completeExceptionally(new IllegalStateException(reason)) }
  }

  private void send(Map message) {
    socket.sendText(JsonOutput.toJson(message), true).get(10, TimeUnit.SECONDS)
  }

  /** A token (JWT, HS256) that names the user. Your login service issues such tokens. */
  private String token() {
    def encode = { byte[] bytes -> Base64.urlEncoder.withoutPadding().encodeToString(bytes) }
    def part = { Map value -> encode(JsonOutput.toJson(value).getBytes('UTF-8')) }
    long now = System.currentTimeMillis().intdiv(1_000L)
    def signed = part(alg: 'HS256', typ: 'JWT') + '.' + part(sub: name, iat: now, exp: now + 3_600)
    def mac = Mac.getInstance('HmacSHA256')
    mac.init(new SecretKeySpec(setting('TIDEWIRE_JWT_SECRET', '').getBytes('UTF-8'), 'HmacSHA256'))
    return signed + '.' + encode(mac.doFinal(signed.getBytes('UTF-8')))
  }

  /** The figures of all users, and the reasons why the run has failed. */
  static Map result(int users, long p99Limit) {
    def times = deliveries.sort(false)
    def at = { double share -> times ? times[Math.min(times.size() - 1, (int) (times.size() * share))] : null }
    def failures = []
    if (ready.get() < users) failures << "${users - ready.get()} users had no first result"
    if (lost.get() > 0) failures << "${lost.get()} lost"
    if (repeated.get() > 0) failures << "${repeated.get()} repeated"
    if (times.isEmpty()) failures << 'nothing was delivered'
    else if (at(0.99) > p99Limit) failures << "the 99th percentile is ${at(0.99)} ms"
    def text = "delivery: ${times.size()}, p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, p99 ${at(0.99)} ms; " +
        "${lost.get()} lost, ${repeated.get()} repeated"
    return [text: text.toString(), failures: failures*.toString()]
  }
}

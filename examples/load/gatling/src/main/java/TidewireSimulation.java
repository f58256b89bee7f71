import static io.gatling.javaapi.core.CoreDsl.*;
import static io.gatling.javaapi.http.HttpDsl.*;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.gatling.http.action.ws.WsInboundMessage;
import io.gatling.javaapi.core.ChainBuilder;
import io.gatling.javaapi.core.ScenarioBuilder;
import io.gatling.javaapi.core.Session;
import io.gatling.javaapi.core.Simulation;
import io.gatling.javaapi.http.HttpProtocolBuilder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.HdrHistogram.ConcurrentHistogram;

/** The load scenario for Gatling. See README.md in this folder. */
public class TidewireSimulation extends Simulation {
  private static final String URL = setting("TIDEWIRE_URL", "ws://127.0.0.1:8480");
  private static final String SECRET = setting("TIDEWIRE_JWT_SECRET", "");
  private static final int USERS = Integer.parseInt(setting("USERS", "10"));
  private static final int SECONDS = Integer.parseInt(setting("SECONDS", "10"));
  private static final long P99_MS = Long.parseLong(setting("P99_MS", "1000"));

  private static final ObjectMapper JSON = new ObjectMapper();
  private static final AtomicInteger numbers = new AtomicInteger();
  private static final AtomicInteger lost = new AtomicInteger();
  private static final AtomicInteger repeated = new AtomicInteger();
  private static final ConcurrentHistogram delivery = new ConcurrentHistogram(3_600_000, 3);

  /** The last write of each document that has arrived at one user, and its faults. */
  private static final class Received {
    final Map<Integer, Integer> last = new HashMap<>();
    int lost;
    int repeated;

    void snapshot(String text) {
      for (JsonNode document : parse(text).get("docs")) {
        JsonNode load = document.get("load");
        if (load != null) last.put(load.get("doc").asInt(), load.get("n").asInt());
      }
    }

    void message(String text, long arrivedAt) {
      JsonNode message = parse(text);
      String type = message.get("type").asText();
      if (!type.equals("added") && !type.equals("changed")) return;
      JsonNode load = message.get("doc").get("load");
      if (load == null) return;
      int n = load.get("n").asInt();
      Integer before = last.get(load.get("doc").asInt());
      if (before != null && n <= before) {
        repeated++;
        return;
      }
      if (before != null) lost += n - before - 1;
      last.put(load.get("doc").asInt(), n);
      delivery.recordValue(Math.max(0, arrivedAt - load.get("at").asLong()));
    }
  }

  private final HttpProtocolBuilder protocol =
      http.wsBaseUrl(URL).wsUnmatchedInboundMessageBufferSize(100_000);

  private final ScenarioBuilder followOrders =
      scenario("follow orders")
          .exec(session -> {
            String user = "user-" + numbers.getAndIncrement();
            return session.set("user", user).set("token", tokenOf(user)).set("received", new Received());
          })
          .exec(ws("connect").connect("/v1/ws").subprotocol("tidewire.v1"))
          .exitHereIfFailed()
          .exec(ws("hello")
              .sendText("{\"type\":\"hello\",\"token\":\"#{token}\"}")
              .await(10)
              .on(ws.checkTextMessage("welcome").matching(jsonPath("$.type").is("welcome"))))
          .exitHereIfFailed()
          .exec(ws("first result")
              .sendText(
                  "{\"type\":\"subscribe\",\"id\":\"orders\",\"collection\":\"orders\","
                      + "\"filter\":{\"customer\":\"#{user}\"}}")
              .await(10)
              .on(ws.checkTextMessage("snapshot")
                  .matching(jsonPath("$.type").is("snapshot"))
                  .check(bodyString().saveAs("snapshot"))))
          .exitHereIfFailed()
          .exec(session -> {
            received(session).snapshot(session.getString("snapshot"));
            return session.remove("snapshot");
          })
          .during(SECONDS)
          .on(pause(Duration.ofMillis(500)).exec(takeMessages()))
          .exec(ws("every write arrived once")
              .sendText("{\"type\":\"ping\"}")
              .await(10)
              .on(ws.checkTextMessage("pong")
                  .matching(jsonPath("$.type").is("pong"))
                  .check(jsonPath("$.type").transformWithSession(TidewireSimulation::verdict).is("pong"))))
          .exec(ws("close").close());

  {
    setUp(followOrders.injectOpen(rampUsers(USERS).during(Math.max(1, USERS / 20))))
        .protocols(protocol)
        .assertions(
            global().failedRequests().count().is(0L),
            details("every write arrived once").allRequests().count().is((long) USERS));
  }

  @Override
  public void after() {
    System.out.printf(
        "delivery: %d, p50 %d ms, p90 %d ms, p99 %d ms, max %d ms; %d lost, %d repeated%n",
        delivery.getTotalCount(),
        delivery.getValueAtPercentile(50),
        delivery.getValueAtPercentile(90),
        delivery.getValueAtPercentile(99),
        delivery.getMaxValue(),
        lost.get(),
        repeated.get());
  }

  /** Takes the messages that have arrived since the last time. */
  private static ChainBuilder takeMessages() {
    return exec(ws.processUnmatchedMessages((messages, session) -> {
      for (WsInboundMessage message : messages) {
        if (message instanceof WsInboundMessage.Text text)
          received(session).message(text.message(), text.timestamp());
      }
      return session;
    }));
  }

  /** The text that the last check of a user compares: `pong` if all is well. */
  private static String verdict(String type, Session session) {
    Received received = received(session);
    lost.addAndGet(received.lost);
    repeated.addAndGet(received.repeated);
    if (received.lost + received.repeated > 0)
      return received.lost + " lost, " + received.repeated + " repeated";
    if (delivery.getTotalCount() == 0) return "nothing was delivered";
    long p99 = delivery.getValueAtPercentile(99);
    return p99 > P99_MS ? "the 99th percentile is " + p99 + " ms" : type;
  }

  private static Received received(Session session) {
    return session.get("received");
  }

  private static JsonNode parse(String text) {
    try {
      return JSON.readTree(text);
    } catch (java.io.IOException error) {
      throw new IllegalStateException("not a message: " + text, error);
    }
  }

  /** A token (JWT, HS256) that names the user. Your login service issues such tokens. */
  private static String tokenOf(String user) {
    long now = System.currentTimeMillis() / 1_000;
    String claims = "{\"sub\":\"" + user + "\",\"iat\":" + now + ",\"exp\":" + (now + 3_600) + "}";
    String signed = part("{\"alg\":\"HS256\",\"typ\":\"JWT\"}") + "." + part(claims);
    try {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(SECRET.getBytes(StandardCharsets.UTF_8), "HmacSHA256"));
      return signed + "." + encode(mac.doFinal(signed.getBytes(StandardCharsets.UTF_8)));
    } catch (java.security.GeneralSecurityException error) {
      throw new IllegalStateException("TIDEWIRE_JWT_SECRET cannot sign", error);
    }
  }

  private static String part(String json) {
    return encode(json.getBytes(StandardCharsets.UTF_8));
  }

  private static String encode(byte[] bytes) {
    return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
  }

  private static String setting(String name, String ordinary) {
    String value = System.getenv(name);
    return value == null || value.isEmpty() ? ordinary : value;
  }
}

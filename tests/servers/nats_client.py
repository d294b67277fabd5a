"""Another client than ours: publishes, reads and meddles, for the suites. Prints JSON."""

import asyncio
import base64
import json
import sys

import nats


async def main(url, command, *rest):
    client = await nats.connect(url)
    stream = client.jetstream()
    try:
        print(json.dumps(await COMMANDS[command](client, stream, *rest)))
    finally:
        await client.close()


async def publish(client, stream, subject, headers, payload):
    """Headers as a JSON object, the payload in base64."""
    sent = await stream.publish(subject, base64.b64decode(payload), headers=json.loads(headers) or None)
    return {"seq": sent.seq}


async def read(client, stream, name, seq):
    message = await stream.get_msg(name, int(seq))
    data = base64.b64encode(message.data or b"").decode()
    return {"subject": message.subject, "headers": message.headers or {}, "data": data}


async def ask(client, stream, subject, payload):
    """A request of the API as it is."""
    answer = await client.request(subject, payload.encode(), timeout=10)
    return json.loads(answer.data)


async def raw(client, stream, subject, headers, payload):
    """A message whose header block is written as it is given, in base64."""
    block, body = base64.b64decode(headers), base64.b64decode(payload)
    line = f"HPUB {subject} {len(block)} {len(block) + len(body)}\r\n".encode()
    await client._send_command(line + block + body + b"\r\n")
    await client.flush()
    return {}


COMMANDS = {"publish": publish, "read": read, "ask": ask, "raw": raw}

asyncio.run(main(*sys.argv[1:]))

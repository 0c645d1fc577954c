"""The official parser without its check of UTF-8: the same messages with bytes for strings."""

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


def bytes_twin(message: type[Message]) -> type[Message]:
    """A message class that parses what this one parses, and also text that is not UTF-8."""
    pool = DescriptorPool()
    _add(message.DESCRIPTOR.file, pool, set())
    return GetMessageClass(pool.FindMessageTypeByName(message.DESCRIPTOR.full_name))


def _add(file: FileDescriptor, pool: DescriptorPool, done: set[str]) -> None:
    if file.name in done:
        return
    done.add(file.name)
    for needed in file.dependencies:
        _add(needed, pool, done)
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    for message in proto.message_type:
        _change(message)
    pool.Add(proto)


def _change(message) -> None:
    # keys of maps may not be bytes; on the wire a map is a list of entries
    message.options.map_entry = False
    for field in message.field:
        if field.type == FieldDescriptorProto.TYPE_STRING:
            field.type = FieldDescriptorProto.TYPE_BYTES
    for inner in message.nested_type:
        _change(inner)
